//! Frames over the guest's serial port.
//!
//! ```text
//! 0..4 payload length  4 kind  5 flags  6..8 zero  8..12 stream  12.. payload       (integers are little-endian)
//!
//!   agent                                host
//!     | -- hello ------------------------> |      a template is saved here: the agent waits for its workload
//!     | <-------------- mount, start, data |      one write
//!     | -- mounted, started -------------> |
//!     | <- data, credit, open, reset ----> |      until
//!     | -- ended ------------------------> |      and the machine is killed
//! ```
//!
//! Streams carry bytes both ways, each direction with a window of credit: the receiver grants, the sender never sends
//! more. [`STDIO`], [`STDERR`] and [`STDOUT`] exist from the start; the host opens others, each is a connection to the
//! server inside. Where the host has sent `egress`, and only there, the guest opens streams, too: each is a connection of
//! the workload's to the proxy, which is the host's. A reset that follows an end means that nothing more is read: what
//! was sent before still arrives.

mod fields;
mod messages;
#[cfg(test)]
mod tests;

pub use messages::{Base, Contract, End, Hello, Mount, Start, Usage};

use self::fields::{Reader, Writer};

/// The only version that is spoken.
pub const VERSION: u16 = 2;
/// Every guest's name, as `hostname` says it.
pub const HOSTNAME: &str = "function";
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 12;
/// The largest payload: a workload with a request's head in its environment.
pub const PAYLOAD_BYTES_MAX: usize = 512 << 10;
/// The largest piece of a stream in one frame.
pub const DATA_BYTES_MAX: usize = 32 << 10;
/// What the receiver of a stream grants at its start.
pub const WINDOW_BYTES: u32 = 128 << 10;
/// The first argument of the agent's own little program.
pub const REHEARSAL: &str = "rehearse";
/// Open streams at one time, beside the standard ones.
pub const STREAMS_MAX: usize = 256;

/// A command's stdin and stdout.
pub const STDIO: u32 = 1;
/// The log: stderr.
pub const STDERR: u32 = 2;
/// The log: stdout of a server.
pub const STDOUT: u32 = 3;
/// The first stream that the host may open.
pub const FIRST_STREAM: u32 = 16;
/// The first stream that the guest may open.
pub const FIRST_EGRESS_STREAM: u32 = 1 << 31;
/// Connections of a workload to its proxy at one time; more wait for one to end.
pub const EGRESS_STREAMS_MAX: usize = 64;

const FLAG_FIN: u8 = 1;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length or the fields make no sense.
    #[error("not a frame")]
    Garbage,
    /// A kind that this end does not speak, or that goes the other way.
    #[error("a frame of kind {0}")]
    Kind(u8),
    /// The other end speaks another version.
    #[error("version {0} is not spoken here, only {VERSION}")]
    Version(u16),
}

/// What goes both ways on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes; `fin` if nothing follows in this direction.
    Data { bytes: Vec<u8>, fin: bool },
    /// The receiver takes this many more.
    Credit(u32),
    /// The stream is over, both ways.
    Reset,
}

/// From the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToGuest {
    /// Mount the base, which all clones of this template share. `mounted` follows.
    Base(Base),
    /// Mount the image and make the workload's root.
    Mount(Mount),
    /// Carry connections to this port of the guest's loopback to the host. Before `start`.
    Egress(u16),
    /// Set clock and entropy, and start the workload.
    Start(Box<Start>),
    /// Run the agent's own little program as if it were the workload, then wait again: on a host that translates, the
    /// workload finds its way translated. Everything that it is told is told to the workload anew.
    Rehearse(Box<Start>),
    /// A new connection to the server inside.
    Open(u32),
    /// On a stream.
    Stream(u32, Piece),
    /// Say what has been used so far.
    Measure,
    /// Kill the workload; `ended` follows.
    Stop,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToHost {
    /// The agent is there.
    Hello(Hello),
    /// The workload's root is made, or the base is mounted.
    Mounted,
    /// The workload's program runs.
    Started,
    /// The server inside takes connections.
    Listening,
    /// A new connection of the workload's to its proxy.
    Open(u32),
    /// On a stream.
    Stream(u32, Piece),
    /// The answer to `measure`.
    Measured(Usage),
    /// The workload is over; nothing follows, but after a rehearsal.
    Ended(End, Usage),
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    kind: u8,
    fin: bool,
    stream: u32,
    length: usize,
}

impl Header {
    /// Checks everything that can be checked before the payload is there.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let [l0, l1, l2, l3, kind, flags, 0, 0, s0, s1, s2, s3] = *bytes else { return Err(WireError::Garbage) };
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).map_err(|_| WireError::Garbage)?;
        let length_max = if kind == kinds::DATA { DATA_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
        if length > length_max || flags & !FLAG_FIN != 0 {
            return Err(WireError::Garbage);
        }
        Ok(Self { kind, fin: flags & FLAG_FIN != 0, stream: u32::from_le_bytes([s0, s1, s2, s3]), length })
    }

    /// How long the payload is: at most [`PAYLOAD_BYTES_MAX`].
    pub fn length(&self) -> usize {
        self.length
    }

    /// How long the payload of a frame from a guest may be: only data is long.
    pub fn length_from_guest(&self) -> Result<usize, WireError> {
        if self.kind != kinds::DATA && self.length > 4096 { Err(WireError::Garbage) } else { Ok(self.length) }
    }

    fn piece(self, payload: Vec<u8>) -> Result<Option<Piece>, WireError> {
        Ok(Some(match self.kind {
            kinds::DATA => Piece::Data { bytes: payload, fin: self.fin },
            kinds::CREDIT => Piece::Credit(Reader::whole(&payload, |reader| reader.u32())?),
            kinds::RESET if payload.is_empty() => Piece::Reset,
            kinds::RESET => return Err(WireError::Garbage),
            _ => return Ok(None),
        }))
    }
}

mod kinds {
    pub(super) const HELLO: u8 = 1;
    pub(super) const MOUNT: u8 = 2;
    pub(super) const MOUNTED: u8 = 3;
    pub(super) const START: u8 = 4;
    pub(super) const STARTED: u8 = 5;
    pub(super) const LISTENING: u8 = 6;
    pub(super) const OPEN: u8 = 7;
    pub(super) const DATA: u8 = 8;
    pub(super) const CREDIT: u8 = 9;
    pub(super) const RESET: u8 = 10;
    pub(super) const MEASURE: u8 = 11;
    pub(super) const MEASURED: u8 = 12;
    pub(super) const STOP: u8 = 13;
    pub(super) const ENDED: u8 = 14;
    pub(super) const REHEARSE: u8 = 15;
    pub(super) const EGRESS: u8 = 16;
    pub(super) const BASE: u8 = 24;
}

impl ToGuest {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Base(base) => frame(out, kinds::BASE, |writer| base.encode(writer)),
            Self::Mount(mount) => frame(out, kinds::MOUNT, |writer| mount.encode(writer)),
            Self::Egress(port) => frame(out, kinds::EGRESS, |writer| writer.u16(*port)),
            Self::Start(start) => frame(out, kinds::START, |writer| start.encode(writer)),
            Self::Rehearse(start) => frame(out, kinds::REHEARSE, |writer| start.encode(writer)),
            Self::Open(stream) => raw(out, kinds::OPEN, false, *stream, &[]),
            Self::Stream(stream, piece) => encode_piece(out, *stream, piece),
            Self::Measure => raw(out, kinds::MEASURE, false, 0, &[]),
            Self::Stop => raw(out, kinds::STOP, false, 0, &[]),
        }
    }

    /// The frame of a header and its payload.
    pub fn decode(header: Header, payload: Vec<u8>) -> Result<Self, WireError> {
        let kind = header.kind;
        if let kinds::OPEN | kinds::MEASURE | kinds::STOP = kind
            && !payload.is_empty()
        {
            return Err(WireError::Garbage);
        }
        Ok(match kind {
            kinds::BASE => Self::Base(Reader::whole(&payload, Base::decode)?),
            kinds::MOUNT => Self::Mount(Reader::whole(&payload, Mount::decode)?),
            kinds::EGRESS => Self::Egress(Reader::whole(&payload, |reader| reader.u16().filter(|port| *port > 0))?),
            kinds::START => Self::Start(Box::new(Reader::whole(&payload, Start::decode)?)),
            kinds::REHEARSE => Self::Rehearse(Box::new(Reader::whole(&payload, Start::decode)?)),
            kinds::OPEN => Self::Open(header.stream),
            kinds::MEASURE => Self::Measure,
            kinds::STOP => Self::Stop,
            _ => Self::Stream(header.stream, header.piece(payload)?.ok_or(WireError::Kind(kind))?),
        })
    }
}

impl ToHost {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => frame(out, kinds::HELLO, |writer| hello.encode(writer)),
            Self::Mounted => raw(out, kinds::MOUNTED, false, 0, &[]),
            Self::Started => raw(out, kinds::STARTED, false, 0, &[]),
            Self::Listening => raw(out, kinds::LISTENING, false, 0, &[]),
            Self::Open(stream) => raw(out, kinds::OPEN, false, *stream, &[]),
            Self::Stream(stream, piece) => encode_piece(out, *stream, piece),
            Self::Measured(usage) => frame(out, kinds::MEASURED, |writer| usage.encode(writer)),
            Self::Ended(end, usage) => frame(out, kinds::ENDED, |writer| {
                end.encode(writer);
                usage.encode(writer);
            }),
        }
    }

    /// The frame of a header and its payload.
    pub fn decode(header: Header, payload: Vec<u8>) -> Result<Self, WireError> {
        let kind = header.kind;
        if let kinds::MOUNTED | kinds::STARTED | kinds::LISTENING | kinds::OPEN = kind
            && !payload.is_empty()
        {
            return Err(WireError::Garbage);
        }
        Ok(match kind {
            kinds::HELLO => Self::Hello(Hello::checked(&payload)?),
            kinds::MOUNTED => Self::Mounted,
            kinds::STARTED => Self::Started,
            kinds::LISTENING => Self::Listening,
            kinds::OPEN => Self::Open(header.stream),
            kinds::MEASURED => Self::Measured(Reader::whole(&payload, Usage::decode)?),
            kinds::ENDED => {
                let decode = |reader: &mut Reader<'_>| Some((End::decode(reader)?, Usage::decode(reader)?));
                let (end, usage) = Reader::whole(&payload, decode)?;
                Self::Ended(end, usage)
            }
            _ => Self::Stream(header.stream, header.piece(payload)?.ok_or(WireError::Kind(kind))?),
        })
    }
}

/// Appends a piece of a stream without an owned copy of it.
pub fn encode_data(out: &mut Vec<u8>, stream: u32, bytes: &[u8], fin: bool) {
    raw(out, kinds::DATA, fin, stream, bytes);
}

fn encode_piece(out: &mut Vec<u8>, stream: u32, piece: &Piece) {
    match piece {
        Piece::Data { bytes, fin } => encode_data(out, stream, bytes, *fin),
        Piece::Credit(bytes) => raw(out, kinds::CREDIT, false, stream, &bytes.to_le_bytes()),
        Piece::Reset => raw(out, kinds::RESET, false, stream, &[]),
    }
}

fn raw(out: &mut Vec<u8>, kind: u8, fin: bool, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[kind, if fin { FLAG_FIN } else { 0 }, 0, 0]);
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(payload);
}

fn frame(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Writer)) {
    let mut payload = Writer::default();
    write(&mut payload);
    raw(out, kind, false, 0, &payload.0);
}
