//! The child: reads one `Job` from stdin, opens what it is to read, confines itself, and only then looks at a
//! stranger's bytes. It holds no key, reaches no socket, and writes into one folder.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use confine::{Confinement, Folder, Identity};
use protocol::{Code, Problem};

use super::workplace::{CODE, REPORT};
use super::{Job, Report, Work};
use crate::sys;
use crate::vm::convert::Inputs;
use crate::wasm::Format;
use crate::wasm::engine::compiling_engine;
use crate::wasm::inspect::inspect;

/// Work that takes no more CPU than this, and than its account is allowed of it, is done beside the node's own; after that it
/// yields to guests, too.
pub(super) const SHORT_CPU: Duration = Duration::from_millis(250);
const LONG_NICE: i32 = 10;
/// Where this process finds its threads, to lower their priority.
const OWN_THREADS: &str = "/proc/self/task";

/// What this machine's kernel does not restrict of children, for people; none where it restricts all.
#[must_use]
pub fn confinement_missing() -> Option<String> {
    Confinement::default().enforcement().missing()
}

/// What the hidden subcommand does. Never returns a panic or an error of its own: all is in the report.
#[must_use]
pub fn child_main() -> ExitCode {
    let mut text = Vec::new();
    let job: Job = match std::io::stdin().take(64 << 10).read_to_end(&mut text).map(|_| serde_json::from_slice(&text)) {
        Ok(Ok(job)) => job,
        _ => {
            eprintln!("this command is for the node agent, which says on stdin what is to be compiled");
            return ExitCode::FAILURE;
        }
    };
    match work(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(Job { work, folder, uid, memory, cpu_seconds, prompt }: Job) -> anyhow::Result<()> {
    sys::limit_this_process(memory.0, cpu_seconds).context("limits cannot be set")?;
    let folder = Folder::open(&folder).context("the child's folder")?;
    let short = prompt.min(SHORT_CPU);
    let result = match work {
        Work::Compile { artifact } => {
            let artifact = File::open(artifact).context("the artifact")?;
            restrict(&folder, Vec::new(), uid, short)?;
            serde_json::to_vec(&compile_file(artifact, &folder.path().join(CODE)))
        }
        Work::Convert(conversion) => {
            let inputs = Inputs::open(&conversion).context("what is to be converted")?;
            // Root would be the only one who can read them.
            let uid = uid.filter(|_| inputs.bases_are_for_all());
            restrict(&folder, inputs.folders(), uid, short)?;
            serde_json::to_vec(&conversion.run(inputs, folder.path()))
        }
        #[cfg(test)]
        Work::Try(secret) => {
            restrict(&folder, Vec::new(), uid, short)?;
            serde_json::to_vec(&Ok::<_, Problem>(super::tests::Reach::of(&secret)))
        }
    };
    std::fs::write(folder.path().join(REPORT), result?).context("the report")
}

/// From here on this process reads what is open already and these folders, and writes into its own.
fn restrict(folder: &Folder, mut read: Vec<PathBuf>, uid: Option<u32>, short: Duration) -> anyhow::Result<()> {
    read.extend([PathBuf::from(OWN_THREADS)].into_iter().filter(|path| path.exists()));
    let identity = uid.map(|id| Identity { id, groups: Vec::new() });
    let confinement = Confinement { read, write: vec![folder.path().to_owned()], identity, ..Confinement::default() };
    match confinement.prepare().and_then(confine::Prepared::apply) {
        // What the kernel lacks, the node has said at its start.
        Ok(_) | Err(confine::Error::Unsupported(_)) => {}
        Err(error) => return Err(error).context("the child cannot be confined"),
    }
    // Not before: threads that run already are restricted only in part.
    sys::lower_this_process_after(short, LONG_NICE);
    Ok(())
}

fn compile_file(mut artifact: File, code: &Path) -> Result<Report, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::new(Code::CompileFailed, error.to_string());
    let mut bytes = Vec::new();
    artifact.read_to_end(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::OutOfMemory => failed(&error),
        _ => Problem::new(Code::NodeFailed, error.to_string()),
    })?;
    let format = inspect(&bytes)?;
    let engine = compiling_engine().map_err(|error| failed(&format!("{error:#}")))?;
    let started = Instant::now();
    let machine_code = match format {
        Format::Module => engine.precompile_module(&bytes),
        Format::HttpComponent | Format::CommandComponent => engine.precompile_component(&bytes),
    }
    .map_err(|error| failed(&format!("{error:#}")))?;
    std::fs::write(code, machine_code).map_err(|error| Problem::new(Code::NodeFailed, error.to_string()))?;
    let compile_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report { format, compile_ms })
}
