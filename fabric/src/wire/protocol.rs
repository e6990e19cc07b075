//! NATS's client protocol, pure: bytes to operations and back. Header blocks are measured, never interpreted, but for
//! the status line that the server itself writes.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};

/// The longest control line that is believed.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// The longest payload that is believed.
const PAYLOAD_MAX_BYTES: usize = 64 * 1024 * 1024;

/// What the server says. Ranges are into the buffer that was parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Info(&'a [u8]),
    Message {
        id: u64,
        subject: &'a str,
        reply: Option<&'a str>,
        no_responders: bool,
        payload: &'a [u8],
    },
    /// A message whose subject is not UTF-8.
    Strange,
    Ping,
    Pong,
    Ok,
    Error(&'a [u8]),
}

/// The stream is not NATS's protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak NATS's protocol")]
pub(super) struct NotNats;

/// The first operation in `bytes` and its length. None: not all of it is there yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Operation<'_>, usize)>, NotNats> {
    let Some(end) = bytes.iter().take(LINE_MAX_BYTES).position(|byte| *byte == b'\n') else {
        return if bytes.len() >= LINE_MAX_BYTES { Err(NotNats) } else { Ok(None) };
    };
    let line = &bytes[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let after = end + 1;
    if let Some(arguments) = line.strip_prefix(b"MSG ") {
        return message(arguments, bytes, after, false);
    }
    if let Some(arguments) = line.strip_prefix(b"HMSG ") {
        return message(arguments, bytes, after, true);
    }
    let operation = match line {
        b"PING" => Operation::Ping,
        b"PONG" => Operation::Pong,
        b"+OK" => Operation::Ok,
        _ => {
            if let Some(info) = line.strip_prefix(b"INFO ") {
                Operation::Info(info)
            } else if let Some(error) = line.strip_prefix(b"-ERR ") {
                Operation::Error(error)
            } else {
                return Err(NotNats);
            }
        }
    };
    Ok(Some((operation, after)))
}

/// `subject id [reply] [header_len] total_len`, then the payload and a line end.
fn message<'a>(
    arguments: &'a [u8],
    bytes: &'a [u8],
    after: usize,
    headers: bool,
) -> Result<Option<(Operation<'a>, usize)>, NotNats> {
    let mut words: [&[u8]; 5] = [&[]; 5];
    let mut count = 0;
    for word in arguments.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        *words.get_mut(count).ok_or(NotNats)? = word;
        count += 1;
    }
    let numbers = if headers { 2 } else { 1 };
    let (subject, id, reply) = match count.checked_sub(numbers) {
        Some(2) => (words[0], words[1], None),
        Some(3) => (words[0], words[1], Some(words[2])),
        _ => return Err(NotNats),
    };
    let total = number(words[count - 1])?;
    let header = if headers { number(words[count - 2])? } else { 0 };
    if header > total || total > PAYLOAD_MAX_BYTES {
        return Err(NotNats);
    }
    let end = after + total;
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    let block = &bytes[after..after + header];
    let payload = &bytes[after + header..end];
    let no_responders = payload.is_empty() && block.starts_with(b"NATS/1.0 503");
    let id = u64::try_from(number(id)?).map_err(|_| NotNats)?;
    let operation = match (std::str::from_utf8(subject), reply.map(std::str::from_utf8).transpose()) {
        (Ok(subject), Ok(reply)) => Operation::Message { id, subject, reply, no_responders, payload },
        _ => Operation::Strange,
    };
    Ok(Some((operation, end + 2)))
}

fn number(digits: &[u8]) -> Result<usize, NotNats> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(NotNats)
}

pub(super) fn publish(out: &mut BytesMut, subject: &str, reply: Option<&str>, payload: &[&[u8]]) {
    let size: usize = payload.iter().map(|part| part.len()).sum();
    out.reserve(subject.len() + reply.map_or(0, str::len) + size + 32);
    out.put_slice(b"PUB ");
    out.put_slice(subject.as_bytes());
    if let Some(reply) = reply {
        out.put_u8(b' ');
        out.put_slice(reply.as_bytes());
    }
    let _ = write!(out, " {size}\r\n");
    for part in payload {
        out.put_slice(part);
    }
    out.put_slice(b"\r\n");
}

pub(super) fn subscribe(out: &mut BytesMut, subject: &str, queue: Option<&str>, id: u64) {
    let _ = match queue {
        Some(queue) => write!(out, "SUB {subject} {queue} {id}\r\n"),
        None => write!(out, "SUB {subject} {id}\r\n"),
    };
}

pub(super) fn unsubscribe(out: &mut BytesMut, id: u64) {
    let _ = write!(out, "UNSUB {id}\r\n");
}

pub(super) fn ping(out: &mut BytesMut) {
    out.put_slice(b"PING\r\n");
}

pub(super) fn pong(out: &mut BytesMut) {
    out.put_slice(b"PONG\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_with_and_without_headers() {
        let bytes = b"MSG a.b 7 3\r\nxyz\r\nHMSG a.b 8 re.ply 4 6\r\n\xff\xfe\r\nhi\r\n";
        let (first, used) = parse(bytes).unwrap().unwrap();
        let want = Operation::Message { id: 7, subject: "a.b", reply: None, no_responders: false, payload: b"xyz" };
        assert_eq!(first, want);
        let (second, rest) = parse(&bytes[used..]).unwrap().unwrap();
        let want =
            Operation::Message { id: 8, subject: "a.b", reply: Some("re.ply"), no_responders: false, payload: b"hi" };
        assert_eq!(second, want);
        assert_eq!(used + rest, bytes.len());
    }

    #[test]
    fn nobody_listens() {
        let bytes = b"HMSG in.1 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
        let (operation, _) = parse(bytes).unwrap().unwrap();
        assert!(matches!(operation, Operation::Message { no_responders: true, .. }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_wait(bytes: Vec<u8>) {
            if let Ok(Some((_, used))) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }

        #[test]
        fn what_is_cut_waits(payload: Vec<u8>, cut in 0.0..1.0f64) {
            let mut bytes = format!("MSG s 1 {}\r\n", payload.len()).into_bytes();
            bytes.extend_from_slice(&payload);
            bytes.extend_from_slice(b"\r\n");
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within the vector")]
            let at = (bytes.len() as f64 * cut) as usize;
            prop_assert_eq!(parse(&bytes[..at]).unwrap(), None);
        }
    }
}
