//! Compiling happens in a child process with limits of its own: an artifact that makes the compiler eat memory or
//! time ends the child and not the node.
//!
//! The child reads one `Job` from stdin, writes the machine code to a file, and its `Report` beside it.

mod bounds;

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use fabric::shares::{Held, Shares};
use protocol::{AccountId, ByteSize, Code, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) use self::bounds::ChildBounds;
use self::bounds::{Bound, Ended, Exceeded};
use crate::sys;
use crate::vm::convert::{Conversion, Converted};
use crate::wasm::Format;
use crate::wasm::engine::compiling_engine;
use crate::wasm::inspect::inspect;

/// The first argument of the hidden subcommand.
pub const SUBCOMMAND: &str = "compile-artifact";
/// Threads that compile.
const THREADS_MAX: &str = "4";
/// Work that takes no more CPU than this is done beside the node's own; after that it yields to guests, too.
const SHORT_CPU: Duration = Duration::from_millis(250);
const LONG_NICE: i32 = 10;
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
    pub(crate) bounds: ChildBounds,
    /// How many work at once, for whom.
    pub(crate) slots: Shares<AccountId>,
}

impl Compiler {
    /// A place for one child, for as long as it is held; one account's are its share, and whoever has none goes first.
    ///
    /// # Errors
    /// When so many wait already that it would be of no use.
    pub(crate) async fn slot(&self, account: AccountId) -> Result<Held<AccountId>, Problem> {
        self.slots.take(account).await.map_err(|over| {
            Problem::new(Code::NodeFailed, over.problem("the places in the node's line for compiling").detail)
        })
    }

    /// Compiles `artifact` to `code`.
    ///
    /// # Errors
    /// The problem that the deployer must mend, or `compile_failed` where the child did not end well.
    pub(crate) async fn compile(&self, artifact: &Path, code: &Path) -> Result<Report, Problem> {
        let work = Work::Compile { artifact: artifact.to_owned(), code: code.to_owned() };
        let bound = self.bounds.of_artifact(artifact)?;
        self.child(work, &code.with_extension("report"), bound, Code::CompileFailed).await
    }

    /// Converts an artifact of the VM lane.
    ///
    /// # Errors
    /// The problem that the deployer must mend, or `image_invalid` where the child did not end well.
    pub(crate) async fn convert(&self, conversion: Conversion, report: &Path) -> Result<Converted, Problem> {
        let bound = self.bounds.of_artifact(&conversion.artifact)?;
        self.child(Work::Convert(conversion), report, bound, Code::ImageInvalid).await
    }

    /// Lets a child work, and reads what it reports.
    async fn child<T: DeserializeOwned>(
        &self,
        work: Work,
        report: &Path,
        bound: Bound,
        code: Code,
    ) -> Result<T, Problem> {
        let job = Job { work, report: report.to_owned(), memory: bound.memory, cpu_seconds: bound.cpu.as_secs() };
        let ended = tokio::time::timeout(bound.wall, self.run(&job)).await;
        let text = tokio::fs::read(report).await;
        drop(tokio::fs::remove_file(report).await);
        let ended = match ended {
            Err(_) => return Err(bound.exceeded(Exceeded::Wall)),
            Ok(Err(error)) => {
                tracing::error!(%error, "the compiler cannot be started");
                return Err(Problem::new(Code::NodeFailed, "the node cannot start its compiler"));
            }
            Ok(Ok(ended)) => ended,
        };
        match text.ok().and_then(|text| serde_json::from_slice::<Result<T, Problem>>(&text).ok()) {
            Some(Err(problem)) if problem.code == Code::CompileFailed && bounds::is_out_of_memory(&problem.detail) => {
                Err(bound.exceeded(Exceeded::Memory))
            }
            Some(result) => result,
            None => Err(match ended.exceeded() {
                Some(exceeded) => bound.exceeded(exceeded),
                None => Problem::new(code, format!("the compiler ended without a result ({})", ended.status)),
            }),
        }
    }

    async fn run(&self, job: &Job) -> std::io::Result<Ended> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(std::io::Error::other("no compile command"));
        };
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            // Each thread costs address space, which is bounded.
            .env("RAYON_NUM_THREADS", THREADS_MAX)
            .env("MALLOC_ARENA_MAX", THREADS_MAX)
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
        let said = String::from_utf8_lossy(&said).into_owned();
        if !status.success() {
            tracing::info!(%status, stderr = said, "a compiling child failed");
        }
        Ok(Ended { status, said })
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
    sys::lower_this_process_after(SHORT_CPU, LONG_NICE);
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
    let bytes = std::fs::read(artifact).map_err(|error| match error.kind() {
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

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

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
        let node = protocol::NodeId::new();
        let slots = Shares::with_lines(2, fabric::shares::TenantShare::DEFAULT, 16);
        Compiler { command, bounds: ChildBounds::of(&crate::Config::new(PathBuf::new(), node, "test")), slots }
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

    /// A module of so many functions of 200 steps each.
    fn bomb(functions: u32) -> Vec<u8> {
        fn number(mut value: u32, out: &mut Vec<u8>) {
            while value >= 128 {
                out.push(u8::try_from(value & 127).unwrap() | 128);
                value >>= 7;
            }
            out.push(u8::try_from(value).unwrap());
        }
        fn section(module: &mut Vec<u8>, id: u8, bytes: &[u8]) {
            module.push(id);
            number(u32::try_from(bytes.len()).unwrap(), module);
            module.extend_from_slice(bytes);
        }
        // a = a * b + rotl(b, a); b = a ^ 77
        let step = b"\x20\x00\x20\x01\x7e\x20\x01\x20\x00\x89\x7c\x21\x00\x20\x00\x42\xcd\x00\x85\x21\x01";
        let body = [&b"\x00"[..], &step.repeat(200), b"\x0b"].concat();
        let (mut types, mut code) = (Vec::new(), Vec::new());
        number(functions + 1, &mut types);
        types.push(0);
        types.extend(std::iter::repeat_n(1, usize::try_from(functions).unwrap()));
        number(functions + 1, &mut code);
        code.extend_from_slice(b"\x02\x00\x0b");
        for _ in 0..functions {
            number(u32::try_from(body.len()).unwrap(), &mut code);
            code.extend_from_slice(&body);
        }
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        section(&mut module, 1, b"\x02\x60\x00\x00\x60\x02\x7e\x7e\x00");
        section(&mut module, 3, &types);
        section(&mut module, 7, b"\x01\x06_start\x00\x00");
        section(&mut module, 10, &code);
        module
    }

    #[tokio::test]
    async fn a12_the_bound_that_was_hit_is_named() {
        let mut small = compiler();
        small.bounds.compile_memory = ByteSize::mib(48);
        let memory = compile(&small, &bomb(100)).await.unwrap_err();
        assert_eq!(memory.code, Code::CompileLimit, "{memory:?}");
        assert!(memory.detail.contains("48MiB of memory"), "{memory:?}");

        let mut hasty = compiler();
        hasty.bounds.compile_timeout = Duration::from_millis(1);
        let wall = compile(&hasty, &wat_guest("cat")).await.unwrap_err();
        assert_eq!(wall.code, Code::CompileLimit);
        assert!(wall.detail.contains("takes longer than 1ms"), "{wall:?}");

        let mut idle = compiler();
        idle.bounds.compile_cpu_max = Duration::from_secs(1);
        let cpu = compile(&idle, &bomb(3000)).await.unwrap_err();
        assert_eq!(cpu.code, Code::CompileLimit, "{cpu:?}");
        assert!(cpu.detail.contains("1 s of CPU time"), "{cpu:?}");
    }

    #[tokio::test]
    async fn a_missing_compiler_is_the_nodes_fault() {
        let missing = Compiler { command: vec!["/nonexistent/compiler".into()], ..compiler() };
        assert_eq!(compile(&missing, &wat_guest("cat")).await.unwrap_err().code, Code::NodeFailed);
    }
}
