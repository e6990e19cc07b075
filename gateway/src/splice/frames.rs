//! The frames of a WebSocket client, counted as they pass. Pure: what is in them is nobody's business here.

/// A larger frame is refused. NATS takes messages of 1 MB, and clients split what they send.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
/// Ping, pong and close (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
const HEAD_BYTES_MAX: usize = 14;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// This is no frame that a client of NATS sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Where in its frames a stream is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    filled: usize,
    /// Of the payload, what has not come yet.
    left: u64,
}

impl Frames {
    /// How many frames begin in these bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<u64, Malformed> {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let passing = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= passing as u64;
                bytes = &bytes[passing..];
                continue;
            }
            begun += u64::from(self.filled == 0);
            self.head[self.filled] = bytes[0];
            self.filled += 1;
            bytes = &bytes[1..];
            if let Some(length) = self.length()? {
                (self.left, self.filled) = (length, 0);
            }
        }
        Ok(begun)
    }

    /// The payload's length, once the head is whole.
    fn length(&self) -> Result<Option<u64>, Malformed> {
        let head = &self.head[..self.filled];
        let Some(&first) = head.first() else { return Ok(None) };
        let opcode = first & 0x0f;
        // No extension was agreed on: the three bits mean nothing.
        if first & 0x70 != 0 || !matches!(opcode, CONTINUATION | BINARY | CLOSE..=PONG) {
            return Err(Malformed);
        }
        let Some(&second) = head.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            // A client masks.
            return Err(Malformed);
        }
        let (length, extended) = match second & 0x7f {
            126 => (be(head.get(2..4)), 2),
            127 => (be(head.get(2..10)), 8),
            short => (Some(u64::from(short)), 0),
        };
        let Some(length) = length else { return Ok(None) };
        let most = if opcode >= CLOSE { CONTROL_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
        if length > most {
            return Err(Malformed);
        }
        Ok((head.len() == 2 + extended + 4).then_some(length))
    }
}

fn be(bytes: Option<&[u8]>) -> Option<u64> {
    Some(bytes?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(stream: &[u8], piece: usize) -> Result<u64, Malformed> {
        let mut frames = Frames::default();
        stream.chunks(piece).try_fold(0, |sum, chunk| Ok(sum + frames.take(chunk)?))
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut stream = vec![0x82, 0x80 | 3, 9, 9, 9, 9, 1, 2, 3];
        stream.extend([0x89, 0x80, 9, 9, 9, 9]);
        stream.extend([0x02, 0x80 | 126, 1, 0, 9, 9, 9, 9]);
        stream.resize(stream.len() + 256, 0xff);
        stream.extend([0x80, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9]);
        stream.resize(stream.len() + 65_536, 0xff);
        stream.extend([0x88, 0x80 | 2, 9, 9, 9, 9, 3, 232]);
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            assert_eq!(count(&stream, piece), Ok(5), "{piece}");
        }
    }

    #[test]
    fn what_is_no_frame_of_a_client_of_nats_is_refused() {
        let text = [0x81, 0x80, 0, 0, 0, 0];
        let reserved = [0xc2, 0x80, 0, 0, 0, 0];
        let unmasked = [0x82, 0x01, 0];
        let unknown = [0x83, 0x80, 0, 0, 0, 0];
        let long_ping = [0x89, 0x80 | 126, 0, 200];
        let huge = [0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0x10, 0, 1];
        let endless = [0x82, 0x80 | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        for stream in [&text[..], &reserved, &unmasked, &unknown, &long_ping, &huge, &endless, b"CONNECT {}"] {
            assert_eq!(count(stream, 1), Err(Malformed), "{stream:?}");
        }
    }
}
