//! Compiling happens in a child process with limits of its own: an artifact that makes the compiler eat memory or
//! time ends the child and not the node.
//!
//! The child gets one `Job` on stdin and a folder of its own, the `workplace`, into which it writes its result and its
//! report. It is confined before it looks at a stranger's bytes (`child`).

mod allowance;
mod bounds;
mod child;
mod workplace;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fabric::shares::{Held, Shares};
use images::RootFs;
use protocol::{AccountId, ByteSize, Code, Digest, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::allowance::Allowance;
pub(crate) use self::bounds::ChildBounds;
use self::bounds::{Bound, Ended, Exceeded};
pub use self::child::{child_main, confinement_missing};
pub(crate) use self::workplace::EXTENSION as WORK;
use self::workplace::{CODE, Workplace};
use crate::artifacts::blocking;
use crate::vm::convert::{Conversion, Converted};
use crate::wasm::Format;

/// The first argument of the hidden subcommand.
pub const SUBCOMMAND: &str = "compile-artifact";
/// Threads that compile.
const THREADS_MAX: &str = "4";
/// Our allocator's threads run before a child can confine itself, and threads that run already are restricted only in
/// part.
const ALLOCATOR: (&str, &str) = ("_RJEM_MALLOC_CONF", "background_thread:false");
/// Of what the child says on stderr, so much is kept for the node's own log.
const STDERR_BYTES_MAX: u64 = 4 << 10;

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
enum Work {
    /// WebAssembly to machine code.
    Compile { artifact: PathBuf },
    /// Anything else to an image.
    Convert(Conversion),
    /// Nothing, but to try what a child that was taken over would.
    #[cfg(test)]
    Try(PathBuf),
}

/// A piece of work and its bounds.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    work: Work,
    /// Where everything goes.
    folder: PathBuf,
    /// Whom that folder belongs to, where this is root.
    uid: Option<u32>,
    memory: ByteSize,
    cpu_seconds: u64,
    /// CPU time after which it yields to guests.
    prompt: Duration,
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
    allowance: Allowance,
}

/// A place for one child.
pub(crate) struct Slot {
    account: AccountId,
    _held: Held<AccountId>,
}

impl Compiler {
    pub(crate) fn new(command: Vec<OsString>, bounds: ChildBounds, slots: Shares<AccountId>) -> Self {
        Self { command, bounds, slots, allowance: Allowance::default() }
    }

    /// A place for one child, for as long as it is held; one account's are its share, and whoever has none goes first.
    ///
    /// # Errors
    /// When so many wait already that it would be of no use.
    pub(crate) async fn slot(&self, account: AccountId) -> Result<Slot, Problem> {
        let held = self.slots.take(account).await.map_err(|over| {
            Problem::new(Code::NodeFailed, over.problem("the places in the node's line for compiling").detail)
        })?;
        Ok(Slot { account, _held: held })
    }

    /// Compiles `artifact` to `code`.
    ///
    /// # Errors
    /// The problem that the deployer must mend, or `compile_failed` where the child did not end well.
    pub(crate) async fn compile(&self, slot: &Slot, artifact: &Path, code: &Path) -> Result<Report, Problem> {
        let bound = self.bounds.of_artifact(artifact)?;
        let workplace = Workplace::beside(artifact).map_err(node_failed)?;
        let work = Work::Compile { artifact: artifact.to_owned() };
        let report = self.child(slot, work, (&workplace, bound), Code::CompileFailed).await?;
        workplace.take(CODE, code).map_err(node_failed)?;
        Ok(report)
    }

    /// Converts an artifact of the VM lane to an image in `folder`.
    ///
    /// # Errors
    /// The problem that the deployer must mend, or `image_invalid` where the child did not end well.
    pub(crate) async fn convert(
        &self,
        slot: &Slot,
        conversion: Conversion,
        folder: &Path,
    ) -> Result<Converted, Problem> {
        let bound = self.bounds.of_artifact(&conversion.artifact)?;
        let workplace = Workplace::beside(&conversion.artifact).map_err(node_failed)?;
        let scratch = conversion.artifact.with_extension("image");
        let work = Work::Convert(conversion);
        let mut converted: Converted = self.child(slot, work, (&workplace, bound), Code::ImageInvalid).await?;
        let folder = folder.to_owned();
        blocking(move || {
            let rootfs = &mut converted.image.rootfs;
            rootfs.path = keep_image(&workplace, rootfs, &scratch, &folder).map_err(node_failed)?;
            Ok(converted)
        })
        .await?
    }

    /// Lets a child work, and reads what it reports.
    async fn child<T: DeserializeOwned>(
        &self,
        slot: &Slot,
        work: Work,
        (workplace, bound): (&Workplace, Bound),
        code: Code,
    ) -> Result<T, Problem> {
        let (folder, uid) = (workplace.path().to_owned(), workplace.uid());
        let taken = self.allowance.take(slot.account, child::SHORT_CPU, Instant::now());
        let (memory, cpu_seconds, prompt) = (bound.memory, bound.cpu.as_secs(), taken.prompt());
        let job = Job { work, folder, uid, memory, cpu_seconds, prompt };
        let ended = tokio::time::timeout(bound.wall, self.run(&job)).await;
        drop(taken);
        let ended = match ended {
            Err(_) => return Err(bound.exceeded(Exceeded::Wall)),
            Ok(Err(error)) => {
                tracing::error!(%error, "the compiler cannot be started");
                return Err(Problem::new(Code::NodeFailed, "the node cannot start its compiler"));
            }
            Ok(Ok(ended)) => ended,
        };
        match workplace.report().and_then(|text| serde_json::from_slice::<Result<T, Problem>>(&text).ok()) {
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
            .env(ALLOCATOR.0, ALLOCATOR.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // It lowers its priority as a whole.
            .process_group(0)
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

/// Takes an image out of a child's folder, into one where an image's name is its digest: which the child's word does
/// not make true, and another account's image may have.
fn keep_image(workplace: &Workplace, rootfs: &RootFs, scratch: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let name = format!("{}.squashfs", rootfs.digest);
    workplace.take(&name, scratch)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(scratch)?)?;
    if Digest(*hasher.finalize().as_bytes()) != rootfs.digest || fs::metadata(scratch)?.len() != rootfs.size.0 {
        fs::remove_file(scratch)?;
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a child left another image than it says"));
    }
    let path = folder.join(name);
    fs::rename(scratch, &path)?;
    Ok(path)
}

fn node_failed(error: std::io::Error) -> Problem {
    Problem::new(Code::NodeFailed, error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::ExitCode;

    use super::*;
    use crate::testing::wat_guest;

    /// What a child reaches that was taken over.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Reach {
        reads: bool,
        lists_root: bool,
        writes: bool,
        connects: bool,
        starts_programs: bool,
        uid: u32,
        environment: Vec<String>,
    }

    impl Reach {
        pub(super) fn of(secret: &Path) -> Self {
            let mut environment: Vec<String> =
                std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
            environment.sort();
            Self {
                reads: fs::read(secret).is_ok(),
                lists_root: fs::read_dir("/").is_ok(),
                writes: fs::write(secret.with_extension("new"), "x").is_ok(),
                connects: std::net::UdpSocket::bind("127.0.0.1:0").is_ok()
                    || std::os::unix::net::UnixStream::pair().is_ok(),
                starts_programs: std::process::Command::new("/bin/true").status().is_ok(),
                uid: rustix::process::geteuid().as_raw(),
                environment,
            }
        }
    }

    #[tokio::test]
    async fn needs_landlock_a_child_that_was_taken_over_reaches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "x").unwrap();
        let compiler = compiler();
        let workplace = Workplace::beside(&secret).unwrap();
        let bound = compiler.bounds.of_artifact(&secret).unwrap();
        let slot = compiler.slot(AccountId::new()).await.unwrap();
        let reach = compiler.child(&slot, Work::Try(secret), (&workplace, bound), Code::CompileFailed).await;
        let reach: Reach = reach.unwrap();
        let own = rustix::process::geteuid();
        assert_eq!(reach.uid == own.as_raw(), !own.is_root(), "{}", reach.uid);
        let environment = ["MALLOC_ARENA_MAX", "RAYON_NUM_THREADS", "_RJEM_MALLOC_CONF"].map(str::to_owned).to_vec();
        let nothing = Reach {
            reads: false,
            lists_root: false,
            writes: false,
            connects: false,
            starts_programs: false,
            uid: reach.uid,
            environment,
        };
        assert_eq!(reach, nothing);
    }

    #[test]
    fn an_image_is_kept_under_the_name_that_its_bytes_have() {
        let folder = tempfile::tempdir().unwrap();
        let workplace = Workplace::beside(&folder.path().join("a.partial")).unwrap();
        let (scratch, others) = (folder.path().join("a.image"), Digest::of(b"another account's"));
        let left = |digest: Digest| {
            let path = workplace.path().join(format!("{digest}.squashfs"));
            fs::write(&path, b"image").unwrap();
            RootFs { path, size: ByteSize(5), digest }
        };
        let kept = keep_image(&workplace, &left(Digest::of(b"image")), &scratch, folder.path()).unwrap();
        assert_eq!(fs::read(kept).unwrap(), b"image");
        assert!(keep_image(&workplace, &left(others), &scratch, folder.path()).is_err());
        assert!(!scratch.exists() && !folder.path().join(format!("{others}.squashfs")).exists());
    }

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
        Compiler::new(command, ChildBounds::of(&crate::Config::new(PathBuf::new(), node, "test")), slots)
    }

    async fn compile(compiler: &Compiler, wasm: &[u8]) -> Result<Report, Problem> {
        let folder = tempfile::tempdir().unwrap();
        let (artifact, code) = (folder.path().join("a.wasm"), folder.path().join("a.code"));
        std::fs::write(&artifact, wasm).unwrap();
        let slot = compiler.slot(AccountId::new()).await.unwrap();
        let result = compiler.compile(&slot, &artifact, &code).await;
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
