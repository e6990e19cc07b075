//! The payloads that are more than bytes.

use std::fmt;

use super::fields::{Reader, Writer};
use super::{VERSION, WireError};

/// The longest text in an end.
const DETAIL_BYTES_MAX: usize = 512;

/// The agent's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u16,
    /// The guest's uptime.
    pub uptime_ms: u32,
    /// How fast it is: turns of a fixed loop in a millisecond.
    pub turns_per_ms: u32,
}

impl Hello {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u16(self.version);
        out.u32(self.uptime_ms);
        out.u32(self.turns_per_ms);
    }

    /// Other versions may say more, but they say their number first.
    pub(super) fn checked(payload: &[u8]) -> Result<Self, WireError> {
        let [low, high, ..] = *payload else { return Err(WireError::Garbage) };
        let version = u16::from_le_bytes([low, high]);
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        Reader::whole(payload, |reader| {
            Some(Self { version: reader.u16()?, uptime_ms: reader.u32()?, turns_per_ms: reader.u32()? })
        })
    }
}

/// What a template does for all images on one base: the base is mounted, and a program of it runs once, so that clones
/// find in memory what it has read. It is the base's own program, never a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Empty: none.
    pub argv: Vec<Vec<u8>>,
}

impl Base {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.list(&self.argv);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { argv: reader.list()? })
    }
}

/// How the workload's root is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The most that the workload may write to its disk, which is memory.
    pub overlay_bytes: u64,
    /// Files of the image to read now rather than later: a template's clones find them in memory.
    pub warm: Vec<Vec<u8>>,
    /// The image lies on a base, which is the second drive.
    pub based: bool,
}

impl Mount {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(self.overlay_bytes);
        out.list(&self.warm);
        out.u8(u8::from(self.based));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (overlay_bytes, warm) = (reader.u64()?, reader.list()?);
        let based = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { overlay_bytes, warm, based })
    }
}

/// How a workload is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// Stdin is the request's body, stdout the answer's.
    Command,
    /// HTTP on this port of the guest's loopback; it must listen within the time.
    Server { port: u16, listen_within_ms: u32 },
}

/// A workload, and what a restored guest must be told before it may run.
#[derive(Clone, PartialEq, Eq)]
pub struct Start {
    /// Nanoseconds since 1970.
    pub clock_ns: u64,
    /// Fresh from the host's generator.
    pub entropy: [u8; 64],
    pub contract: Contract,
    pub uid: u32,
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
    /// The most memory of the workload, its written files included; 0: all but what the kernel needs.
    pub memory_bytes: u64,
    /// 0: the agent's own limit.
    pub pids_max: u32,
    pub files_max: u32,
    pub cwd: Vec<u8>,
    /// The program first; without a slash it is looked for in `PATH`.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value`.
    pub env: Vec<Vec<u8>>,
}

impl fmt::Debug for Start {
    /// Neither entropy nor environment belongs in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argv: Vec<_> = self.argv.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        f.debug_struct("Start").field("contract", &self.contract).field("argv", &argv).finish_non_exhaustive()
    }
}

impl Start {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(self.clock_ns);
        out.0.extend_from_slice(&self.entropy);
        let (code, port, listen_within_ms) = match self.contract {
            Contract::Command => (0, 0, 0),
            Contract::Server { port, listen_within_ms } => (1, port, listen_within_ms),
        };
        out.u8(code);
        out.u16(port);
        out.u32(listen_within_ms);
        out.u32(self.uid);
        out.u32(self.gid);
        out.numbers(&self.groups);
        out.u64(self.memory_bytes);
        out.u32(self.pids_max);
        out.u32(self.files_max);
        out.bytes(&self.cwd);
        out.list(&self.argv);
        out.list(&self.env);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let clock_ns = reader.u64()?;
        let entropy = reader.array()?;
        let contract = match (reader.u8()?, reader.u16()?, reader.u32()?) {
            (0, 0, 0) => Contract::Command,
            (1, port, listen_within_ms) => Contract::Server { port, listen_within_ms },
            _ => return None,
        };
        Some(Self {
            clock_ns,
            entropy,
            contract,
            uid: reader.u32()?,
            gid: reader.u32()?,
            groups: reader.numbers()?,
            memory_bytes: reader.u64()?,
            pids_max: reader.u32()?,
            files_max: reader.u32()?,
            cwd: reader.bytes()?,
            argv: reader.list()?,
            env: reader.list()?,
        })
    }
}

/// What a workload has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its processes.
    pub cpu_us: u64,
    /// The peak of what it was charged for: its processes' memory and the files that it wrote or read.
    pub memory_peak_bytes: u64,
    /// The largest process's peak.
    pub rss_peak_bytes: u64,
    /// It ran into its limit of processes this often.
    pub pids_refused: u32,
}

impl Usage {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(self.cpu_us);
        out.u64(self.memory_peak_bytes);
        out.u64(self.rss_peak_bytes);
        out.u32(self.pids_refused);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            cpu_us: reader.u64()?,
            memory_peak_bytes: reader.u64()?,
            rss_peak_bytes: reader.u64()?,
            pids_refused: reader.u32()?,
        })
    }
}

/// How a workload ended, as the agent saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed(i32),
    /// The guest's kernel killed it because its memory was used up.
    OutOfMemory,
    /// There is no such program in the image.
    EntryMissing,
    /// The program is there, but the kernel does not run it.
    EntryRefused(i32),
    /// A server that took no connection in time.
    NeverListened,
    /// The host asked for it.
    Stopped,
    /// The image cannot be mounted.
    ImageRefused(String),
    /// The agent itself failed.
    AgentFailed(String),
}

impl End {
    pub(super) fn encode(&self, out: &mut Writer) {
        let (code, number, text) = match self {
            Self::Exited(status) => (0, *status, ""),
            Self::Killed(signal) => (1, *signal, ""),
            Self::OutOfMemory => (2, 0, ""),
            Self::EntryMissing => (3, 0, ""),
            Self::EntryRefused(errno) => (4, *errno, ""),
            Self::NeverListened => (5, 0, ""),
            Self::Stopped => (6, 0, ""),
            Self::ImageRefused(text) => (7, 0, text.as_str()),
            Self::AgentFailed(text) => (8, 0, text.as_str()),
        };
        out.u8(code);
        out.u32(number.cast_unsigned());
        out.bytes(clip(text).as_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let code = reader.u8()?;
        let number = reader.u32()?.cast_signed();
        let text = reader.text(DETAIL_BYTES_MAX)?;
        if code < 7 && !text.is_empty() {
            return None;
        }
        Some(match (code, number) {
            (0, status) => Self::Exited(status),
            (1, signal) => Self::Killed(signal),
            (2, 0) => Self::OutOfMemory,
            (3, 0) => Self::EntryMissing,
            (4, errno) => Self::EntryRefused(errno),
            (5, 0) => Self::NeverListened,
            (6, 0) => Self::Stopped,
            (7, 0) => Self::ImageRefused(text),
            (8, 0) => Self::AgentFailed(text),
            _ => return None,
        })
    }
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(DETAIL_BYTES_MAX)]
}
