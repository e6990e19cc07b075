//! What a compiling child may take, and which bound it hit. A small artifact can ask for as much compiling as a large
//! one: so it gets CPU time by its size.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use protocol::{ByteSize, Code, Problem};

use crate::config::Config;

/// CPU time for any artifact...
const CPU_BASE: Duration = Duration::from_secs(20);
/// ...and for each MiB of it: four times what the 18 MiB of Python's interpreter take, 14 s on one core and 0.4 GiB.
const CPU_EACH_MIB: Duration = Duration::from_secs(3);
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// What children of this node may take.
#[derive(Debug, Clone)]
pub(crate) struct ChildBounds {
    pub(crate) compile_memory: ByteSize,
    pub(crate) compile_cpu_max: Duration,
    pub(crate) compile_timeout: Duration,
    convert_memory: ByteSize,
    convert_timeout: Duration,
}

impl ChildBounds {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            compile_memory: config.compile_memory,
            compile_cpu_max: config.compile_cpu.duration(),
            compile_timeout: config.compile_timeout.duration(),
            convert_memory: config.convert_memory,
            convert_timeout: config.convert_timeout.duration(),
        }
    }

    /// The bounds for this artifact: whatever lane it is for, WebAssembly is compiled, and all else is copied.
    pub(super) fn of_artifact(&self, artifact: &Path) -> Result<Bound, Problem> {
        let failed = |error: std::io::Error| Problem::new(Code::NodeFailed, error.to_string());
        let file = std::fs::File::open(artifact).map_err(failed)?;
        let size = ByteSize(file.metadata().map_err(failed)?.len());
        let mut head = Vec::new();
        file.take(4).read_to_end(&mut head).map_err(failed)?;
        if !crate::vm::is_wasm(&head) {
            return Ok(Bound {
                size,
                memory: self.convert_memory,
                // Several threads work: CPU time may pass faster than the clock's.
                cpu: self.convert_timeout.saturating_mul(4),
                wall: self.convert_timeout,
            });
        }
        Ok(Bound {
            size,
            memory: self.compile_memory,
            cpu: self.cpu_for(size).max(Duration::from_secs(1)),
            wall: self.compile_timeout,
        })
    }

    fn cpu_for(&self, size: ByteSize) -> Duration {
        let mib = u32::try_from(size.0.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        CPU_BASE.saturating_add(CPU_EACH_MIB.saturating_mul(mib)).min(self.compile_cpu_max)
    }
}

/// What one child may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    size: ByteSize,
    pub(super) memory: ByteSize,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
}

/// Which of them was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Memory,
    Cpu,
    Wall,
}

impl Bound {
    /// As the deployer sees it.
    pub(super) fn exceeded(&self, bound: Exceeded) -> Problem {
        let Self { size, memory, cpu, wall } = self;
        let detail = match bound {
            Exceeded::Memory => format!("it needs more than {memory} of memory"),
            Exceeded::Cpu => {
                format!("an artifact of {size} may take {} s of CPU time, and it needs more", cpu.as_secs())
            }
            Exceeded::Wall => format!("it takes longer than {}", protocol::Millis::from(*wall)),
        };
        Problem::new(Code::CompileLimit, detail)
    }
}

/// How a child ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The beginning of what it said on stderr.
    pub(super) said: String,
}

impl Ended {
    /// The bound that ended it, where one did.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        match self.status.signal() {
            Some(SIGXCPU) => Some(Exceeded::Cpu),
            // Nobody else ends it so but the kernel, where memory is short.
            Some(SIGKILL) => Some(Exceeded::Memory),
            _ if !self.status.success() && is_out_of_memory(&self.said) => Some(Exceeded::Memory),
            _ => None,
        }
    }
}

/// Whether this is how a program says that it got no more memory: an allocator, the system, a pool of threads.
pub(super) fn is_out_of_memory(said: &str) -> bool {
    const WAYS: [&str; 6] =
        ["memory allocation of", "out of memory", "Cannot allocate memory", "os error 12", "os error 11", "code: 11"];
    WAYS.iter().any(|text| said.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a12_cpu_time_grows_with_the_artifact_up_to_a_bound() {
        let config = Config::new(std::path::PathBuf::new(), protocol::NodeId::new(), "test");
        let seconds = |size: ByteSize| ChildBounds::of(&config).cpu_for(size).as_secs();
        assert_eq!(seconds(ByteSize(1)), 23);
        assert_eq!(seconds(ByteSize::mib(4)), 32);
        assert_eq!(seconds(ByteSize::mib(18)), 74);
        assert_eq!(seconds(ByteSize::mib(256)), 120);
        assert_eq!(ChildBounds::of(&config).compile_memory, ByteSize::mib(2048));
    }
}
