//! Frames: what travels in a NATS message between the two ends of an exchange.
//!
//! ```text
//! 0 version  1 kind  2..4 flags  4..20 exchange  20..24 sequence  24.. payload
//! ```
//!
//! Integers are big-endian. The first 20 bytes mean the same in every version, so that a version that is not
//! spoken can be refused by name. Payloads by kind are described at [`Frame`]; the golden bytes stand in the tests.

mod head;
#[cfg(test)]
mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

pub(crate) use head::{
    RequestHead, ResponseHead, request_head_bytes, response_head_bytes, take_trailers, trailers_bytes,
};

/// The only version that is spoken, so far.
pub(crate) const VERSION: u8 = 1;
/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 24;
/// The largest head and body together in one frame. With the fixed parts and an `end` it is still below half of the
/// server's `max_payload`.
pub(crate) const FRAME_MAX_BYTES: usize = 256 * 1024;
/// The largest `end` payload.
pub(crate) const END_PAYLOAD_MAX_BYTES: usize = 64 * 1024;
/// The largest head, so that a frame has room for it and the fixed parts.
pub(crate) const HEAD_MAX_BYTES: usize = 128 * 1024;
/// The longest reason that is sent.
const REASON_MAX_BYTES: usize = 1024;

/// The body is complete with this frame.
const FLAG_FIN: u16 = 1;
/// Sent by the exchange's caller.
const FLAG_FROM_CALLER: u16 = 2;
/// The reply is also the end.
const FLAG_END: u16 = 4;

/// How the callee says that an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    Completed,
    Cancelled,
    Deadline,
    Aborted(String),
}

/// The parts of a frame after its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The caller asks: `from[16] deadline_ms[4] window[4] head_len[4] head body`.
    Open { from: Uuid, deadline_ms: u32, window: u32, head: Bytes, body: Bytes, fin: bool },
    /// The callee takes it: `from[16] window[4]`.
    Accepted { from: Uuid, window: u32 },
    /// The callee does not take it: `reason`.
    Busy { reason: String },
    /// The answer's head: `from[16] window[4] head_len[4] end_len[4] head end body`. `end`: it is complete.
    Reply { from: Uuid, window: u32, head: Bytes, body: Bytes, fin: bool, end: Option<Bytes> },
    /// A piece of a body.
    Data { body: Bytes, fin: bool },
    /// The receiver of a body grants more: `cost[4]`.
    Credit { cost: u32 },
    /// The callee is done: `how[1] reason_len[2] reason payload_flag[1] payload`.
    End { how: How, payload: Option<Bytes> },
    /// One end gives up: `reason`.
    Abort { reason: String },
    /// The caller wants no more. `how`: 0 cancelled, 1 the deadline passed.
    Cancel { deadline: bool },
    /// Still there; the header's sequence says how many sequenced frames were sent.
    Heartbeat,
    /// The caller takes an open back.
    Revoke,
    /// The callee confirms that it has not started and never will.
    Revoked,
    /// The answer's body is complete, and these headers follow it: only to a caller who said `TE: trailers`, so that
    /// one who does not know this frame never gets it.
    Trailers { fields: Bytes },
}

/// A frame with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) exchange: u128,
    pub(crate) from_caller: bool,
    /// Of open, reply, data, trailers and end: their place. Of a heartbeat: the next place. Else 0.
    pub(crate) sequence: u32,
    pub(crate) frame: Frame,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("not a frame")]
    Garbage,
    #[error("frames of version {version} are not spoken here, only {VERSION} to {VERSION}")]
    Version { version: u8, exchange: u128, from_caller: bool },
}

/// A frame's bytes: the body is the end of every frame, and is not copied here.
pub(crate) struct Encoded {
    pub(crate) start: Bytes,
    pub(crate) body: Bytes,
}

impl Encoded {
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.start, &self.body]
    }
}

/// What the first bytes of a frame of any version say: which exchange, and whether its caller has sent it.
pub(crate) fn peek(bytes: &[u8]) -> Option<(u128, bool)> {
    let flags = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let exchange = u128::from_be_bytes(bytes.get(4..20)?.try_into().ok()?);
    Some((exchange, flags & FLAG_FROM_CALLER != 0))
}

/// How much of the window a piece of a body takes. The constant part bounds what many tiny pieces can occupy.
pub(crate) fn cost_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX - PIECE_COST).saturating_add(PIECE_COST)
}
const PIECE_COST: u32 = 256;

impl Message {
    pub(crate) fn encode(self) -> Encoded {
        let (kind, flags, size) = match &self.frame {
            Frame::Open { head, fin, .. } => (1, fin_flag(*fin), 28 + head.len()),
            Frame::Accepted { .. } => (2, 0, 20),
            Frame::Busy { reason } => (3, 0, reason.len()),
            Frame::Reply { head, fin, end, .. } => {
                let flags = fin_flag(*fin) | if end.is_some() { FLAG_END } else { 0 };
                (4, flags, 28 + head.len() + end.as_ref().map_or(0, Bytes::len))
            }
            Frame::Data { fin, .. } => (5, fin_flag(*fin), 0),
            Frame::Credit { .. } => (6, 0, 4),
            Frame::End { payload, .. } => (7, 0, 4 + REASON_MAX_BYTES + payload.as_ref().map_or(0, Bytes::len)),
            Frame::Abort { reason } => (8, 0, reason.len()),
            Frame::Cancel { .. } => (9, 0, 1),
            Frame::Heartbeat => (10, 0, 0),
            Frame::Revoke => (11, 0, 0),
            Frame::Revoked => (12, 0, 0),
            Frame::Trailers { fields } => (13, 0, fields.len()),
        };
        let mut out = BytesMut::with_capacity(HEADER_BYTES + size);
        out.put_u8(VERSION);
        out.put_u8(kind);
        out.put_u16(flags | if self.from_caller { FLAG_FROM_CALLER } else { 0 });
        out.put_u128(self.exchange);
        out.put_u32(self.sequence);
        self.frame.encode_payload(&mut out);
        let body = match self.frame {
            Frame::Open { body, .. } | Frame::Reply { body, .. } | Frame::Data { body, .. } => body,
            _ => Bytes::new(),
        };
        Encoded { start: out.freeze(), body }
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, FrameError> {
        if bytes.len() < 20 {
            return Err(FrameError::Garbage);
        }
        let version = bytes.get_u8();
        let kind = bytes.get_u8();
        let flags = bytes.get_u16();
        let exchange = bytes.get_u128();
        let from_caller = flags & FLAG_FROM_CALLER != 0;
        if version != VERSION {
            return Err(FrameError::Version { version, exchange, from_caller });
        }
        let sequence = bytes.try_get_u32().map_err(|_| FrameError::Garbage)?;
        let frame = Frame::decode_payload(kind, flags, bytes).ok_or(FrameError::Garbage)?;
        Ok(Self { exchange, from_caller, sequence, frame })
    }
}

impl Frame {
    /// All but the body.
    fn encode_payload(&self, out: &mut BytesMut) {
        match self {
            Self::Open { from, deadline_ms, window, head, .. } => {
                out.put_slice(from.as_bytes());
                out.put_u32(*deadline_ms);
                out.put_u32(*window);
                out.put_u32(length(head));
                out.put_slice(head);
            }
            Self::Accepted { from, window } => {
                out.put_slice(from.as_bytes());
                out.put_u32(*window);
            }
            Self::Busy { reason } | Self::Abort { reason } => out.put_slice(clip(reason).as_bytes()),
            Self::Reply { from, window, head, end, .. } => {
                out.put_slice(from.as_bytes());
                out.put_u32(*window);
                out.put_u32(length(head));
                out.put_u32(end.as_ref().map_or(0, length));
                out.put_slice(head);
                out.put_slice(end.as_deref().unwrap_or_default());
            }
            Self::Credit { cost } => out.put_u32(*cost),
            Self::End { how, payload } => {
                let (code, reason) = match how {
                    How::Completed => (0, ""),
                    How::Cancelled => (1, ""),
                    How::Deadline => (2, ""),
                    How::Aborted(reason) => (3, clip(reason)),
                };
                out.put_u8(code);
                out.put_u16(u16::try_from(reason.len()).unwrap_or(0));
                out.put_slice(reason.as_bytes());
                out.put_u8(u8::from(payload.is_some()));
                out.put_slice(payload.as_deref().unwrap_or_default());
            }
            Self::Cancel { deadline } => out.put_u8(u8::from(*deadline)),
            Self::Trailers { fields } => out.put_slice(fields),
            Self::Data { .. } | Self::Heartbeat | Self::Revoke | Self::Revoked => {}
        }
    }

    fn decode_payload(kind: u8, flags: u16, mut bytes: Bytes) -> Option<Self> {
        let fin = flags & FLAG_FIN != 0;
        Some(match kind {
            1 => {
                let from = take_uuid(&mut bytes)?;
                let deadline_ms = bytes.try_get_u32().ok()?;
                let window = bytes.try_get_u32().ok()?;
                let head_len = bytes.try_get_u32().ok()?;
                let head = take(&mut bytes, head_len)?;
                Self::Open { from, deadline_ms, window, head, body: bytes, fin }
            }
            2 => Self::Accepted { from: take_uuid(&mut bytes)?, window: bytes.try_get_u32().ok()? },
            3 => Self::Busy { reason: text(&bytes) },
            4 => {
                let from = take_uuid(&mut bytes)?;
                let window = bytes.try_get_u32().ok()?;
                let head_len = bytes.try_get_u32().ok()?;
                let end_len = bytes.try_get_u32().ok()?;
                let head = take(&mut bytes, head_len)?;
                let end = take(&mut bytes, end_len)?;
                let end = (flags & FLAG_END != 0).then_some(end);
                Self::Reply { from, window, head, body: bytes, fin, end }
            }
            5 => Self::Data { body: bytes, fin },
            6 => Self::Credit { cost: bytes.try_get_u32().ok()? },
            7 => {
                let code = bytes.try_get_u8().ok()?;
                let reason_len = bytes.try_get_u16().ok()?;
                let reason = take(&mut bytes, u32::from(reason_len))?;
                let payload = (bytes.try_get_u8().ok()? != 0).then_some(bytes);
                let how = match code {
                    0 => How::Completed,
                    1 => How::Cancelled,
                    2 => How::Deadline,
                    3 => How::Aborted(text(&reason)),
                    _ => return None,
                };
                Self::End { how, payload }
            }
            8 => Self::Abort { reason: text(&bytes) },
            9 => Self::Cancel { deadline: bytes.try_get_u8().ok()? != 0 },
            10 => Self::Heartbeat,
            11 => Self::Revoke,
            12 => Self::Revoked,
            13 if bytes.len() <= HEAD_MAX_BYTES => Self::Trailers { fields: bytes },
            _ => return None,
        })
    }
}

fn fin_flag(fin: bool) -> u16 {
    if fin { FLAG_FIN } else { 0 }
}

fn length(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn take(bytes: &mut Bytes, len: u32) -> Option<Bytes> {
    let len = usize::try_from(len).ok()?;
    (bytes.len() >= len).then(|| bytes.split_to(len))
}

fn take_uuid(bytes: &mut Bytes) -> Option<Uuid> {
    Some(Uuid::from_u128(bytes.try_get_u128().ok()?))
}

fn clip(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

fn text(bytes: &Bytes) -> String {
    clip(&String::from_utf8_lossy(&bytes[..bytes.len().min(REASON_MAX_BYTES)])).to_owned()
}
