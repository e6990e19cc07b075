//! Compiling happens in a child process with limits of its own: an artifact that makes the compiler eat memory or
//! time ends the child and not the node.
//!
//! The child reads one `Job` from stdin, writes the machine code to a file, and its `Report` beside it.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use protocol::{ByteSize, Code, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sys;
use crate::vm::convert::{Conversion, Converted};
use crate::wasm::Format;
use crate::wasm::engine::compiling_engine;
use crate::wasm::inspect::inspect;

/// The first argument of the hidden subcommand.
pub const SUBCOMMAND: &str = "compile-artifact";
/// Of what the child says on stderr, so much is kept for the node's own log.
const STDERR_BYTES_MAX: u64 = 4 << 10;

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
enum Work {
    /// WebAssembly to machine code.
    Compile { artifact: PathBuf, code: PathBuf },
    /// Anything else to an image.
    Convert(Conversion),
}

/// A piece of work and its bounds.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    work: Work,
    report: PathBuf,
    memory: ByteSize,
    cpu_seconds: u64,
}

/// What the child found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) format: Format,
    pub(crate) compile_ms: u64,
}

/// How the child is started, and its bounds.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    pub(crate) command: Vec<OsString>,
    pub(crate) memory: ByteSize,
    pub(crate) timeout: Duration,
}

impl Compiler {
    /// Compiles `artifact` to `code`.
    ///
    /// # Errors
    /// The problem that the deployer must mend, or `compile_failed` where the child did not end well.
    pub(crate) async fn compile(&self, artifact: &Path, code: &Path) -> Result<Report, Problem> {
        let work = Work::Compile { artifact: artifact.to_owned(), code: code.to_owned() };
        self.child(work, &code.with_extension("report"), Code::CompileFailed).await
    }

    /// Converts an artifact of the VM lane.
    ///
    /// # Errors
    /// The problem that the deployer must mend, or `image_invalid` where the child did not end well.
    pub(crate) async fn convert(&self, conversion: Conversion, report: &Path) -> Result<Converted, Problem> {
        self.child(Work::Convert(conversion), report, Code::ImageInvalid).await
    }

    /// Lets a child work, and reads what it reports.
    async fn child<T: DeserializeOwned>(&self, work: Work, report: &Path, code: Code) -> Result<T, Problem> {
        let job = Job {
            work,
            report: report.to_owned(),
            memory: self.memory,
            // Several threads compile: CPU time may pass faster than the clock's.
            cpu_seconds: self.timeout.as_secs().saturating_mul(4).max(1),
        };
        let ended = tokio::time::timeout(self.timeout, self.run(&job)).await;
        let text = tokio::fs::read(report).await;
        drop(tokio::fs::remove_file(report).await);
        let failed = |detail: String| Problem::new(code, detail);
        let how = match ended {
            Err(_) => return Err(failed(format!("it took longer than {:?}", self.timeout))),
            Ok(Err(error)) => {
                tracing::error!(%error, "the compiler cannot be started");
                return Err(Problem::new(Code::NodeFailed, "the node cannot start its compiler"));
            }
            Ok(Ok(how)) => how,
        };
        match text.ok().and_then(|text| serde_json::from_slice::<Result<T, Problem>>(&text).ok()) {
            Some(result) => result,
            None => Err(failed(format!("the compiler ended without a result ({how}); its limit is {}", self.memory))),
        }
    }

    async fn run(&self, job: &Job) -> std::io::Result<String> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(std::io::Error::other("no compile command"));
        };
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(job)?).await?;
        }
        let mut said = Vec::new();
        if let Some(mut stderr) = child.stderr.take() {
            (&mut stderr).take(STDERR_BYTES_MAX).read_to_end(&mut said).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        let status = child.wait().await?;
        if !status.success() {
            tracing::warn!(%status, stderr = %String::from_utf8_lossy(&said), "a compiling child failed");
        }
        Ok(status.to_string())
    }
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
    if let Err(error) = sys::limit_this_process(job.memory.0, job.cpu_seconds) {
        eprintln!("limits cannot be set: {error}");
        return ExitCode::FAILURE;
    }
    sys::lower_this_thread(10);
    let result = match &job.work {
        Work::Compile { artifact, code } => serde_json::to_vec(&compile_file(artifact, code)),
        Work::Convert(conversion) => serde_json::to_vec(&conversion.run()),
    };
    match result.map(|json| std::fs::write(&job.report, json)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn compile_file(artifact: &Path, code: &Path) -> Result<Report, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::new(Code::CompileFailed, error.to_string());
    let bytes = std::fs::read(artifact).map_err(|error| Problem::new(Code::NodeFailed, error.to_string()))?;
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::wat_guest;

    /// Not a test of its own: the child, when this test binary is started as one.
    #[test]
    fn child() {
        if std::env::args().any(|argument| argument == "--nocapture") && std::env::var_os("PATH").is_none() {
            assert_eq!(child_main(), ExitCode::SUCCESS);
        }
    }

    /// A compiler whose child is this test binary.
    pub(crate) fn compiler() -> Compiler {
        let program = std::env::current_exe().unwrap().into_os_string();
        let arguments = ["--exact", "compile::tests::child", "--nocapture"].map(OsString::from);
        let command = std::iter::once(program).chain(arguments).collect();
        Compiler { command, memory: ByteSize::mib(4096), timeout: Duration::from_secs(60) }
    }

    async fn compile(compiler: &Compiler, wasm: &[u8]) -> Result<Report, Problem> {
        let folder = tempfile::tempdir().unwrap();
        let (artifact, code) = (folder.path().join("a.wasm"), folder.path().join("a.code"));
        std::fs::write(&artifact, wasm).unwrap();
        let result = compiler.compile(&artifact, &code).await;
        assert_eq!(result.is_ok(), code.exists());
        result
    }

    #[tokio::test]
    async fn a_child_compiles() {
        let report = compile(&compiler(), &wat_guest("cat")).await.unwrap();
        assert_eq!(report.format, Format::Module);
    }

    #[tokio::test]
    async fn what_is_wrong_comes_back() {
        let problem = compile(&compiler(), b"#!/bin/sh").await.unwrap_err();
        assert_eq!(problem.code, Code::NotWasm);
    }

    #[tokio::test]
    async fn too_little_memory_or_time_is_compile_failed() {
        let small = Compiler { memory: ByteSize::mib(30), ..compiler() };
        assert_eq!(compile(&small, &wat_guest("cat")).await.unwrap_err().code, Code::CompileFailed);
        let hasty = Compiler { timeout: Duration::from_millis(1), ..compiler() };
        assert_eq!(compile(&hasty, &wat_guest("cat")).await.unwrap_err().code, Code::CompileFailed);
    }

    #[tokio::test]
    async fn a_missing_compiler_is_the_nodes_fault() {
        let missing = Compiler { command: vec!["/nonexistent/compiler".into()], ..compiler() };
        assert_eq!(compile(&missing, &wat_guest("cat")).await.unwrap_err().code, Code::NodeFailed);
    }
}
