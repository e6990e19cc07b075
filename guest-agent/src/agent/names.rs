//! The guest's name server. A guest has no network, so that there is no name to be found but its own; programs that ask
//! for one must hear so at once, and not after their resolver's patience.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use guest_agent::wire::HOSTNAME;

const PORT: u16 = 53;
const HEADER_BYTES: usize = 12;
/// Longer questions have nothing that matters here.
const QUESTION_BYTES_MAX: usize = 512;
/// Questions that are answered before the agent looks at its other work.
const AT_ONCE: usize = 32;

const RECURSION_DESIRED: u8 = 0x01;
/// Response, authoritative.
const RESPONSE: u8 = 0x84;
/// Recursion is available.
const AVAILABLE: u8 = 0x80;
const NO_SUCH_NAME: u8 = 3;
const KIND_A: u16 = 1;
const KIND_AAAA: u16 = 28;

/// The socket, opened in the template.
pub(super) struct Names(UdpSocket);

impl Names {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Answers what is there.
    pub(super) fn answer(&self) {
        let mut question = [0; QUESTION_BYTES_MAX];
        for _ in 0..AT_ONCE {
            let Ok((length, from)) = self.0.recv_from(&mut question) else { return };
            if let Some(reply) = question.get(..length).and_then(reply) {
                // Who asked may have gone.
                let _ = self.0.send_to(&reply, from);
            }
        }
    }
}

/// The answer to a question; none where it is none.
fn reply(question: &[u8]) -> Option<Vec<u8>> {
    let header = question.first_chunk::<HEADER_BYTES>()?;
    let [id_high, id_low, flags, _, 0, 1, ..] = *header else { return None };
    // Whatever is no plain question: responses, other operations.
    if flags & 0xf8 != 0 {
        return None;
    }
    let (name, end) = name_of(question)?;
    let kind = u16::from_be_bytes(*question.get(end..)?.first_chunk()?);
    let asked = question.get(HEADER_BYTES..end + 4)?;
    let is_own = name == "localhost" || name.ends_with(".localhost") || name == HOSTNAME;
    let address = match kind {
        KIND_A if is_own => Ipv4Addr::LOCALHOST.octets().to_vec(),
        KIND_AAAA if is_own => Ipv6Addr::LOCALHOST.octets().to_vec(),
        _ => Vec::new(),
    };
    let answers = u8::from(!address.is_empty());
    let code = if is_own { 0 } else { NO_SUCH_NAME };
    let flags = RESPONSE | (flags & RECURSION_DESIRED);
    let mut reply = vec![id_high, id_low, flags, AVAILABLE | code, 0, 1, 0, answers, 0, 0, 0, 0];
    reply.extend_from_slice(asked);
    if answers > 0 {
        // The name of the question, this kind, the internet's class, a minute.
        reply.extend_from_slice(&[0xc0, 12, 0, u8::try_from(kind).ok()?, 0, 1, 0, 0, 0, 60]);
        reply.extend_from_slice(&[0, u8::try_from(address.len()).ok()?]);
        reply.extend_from_slice(&address);
    }
    Some(reply)
}

/// The name that is asked for, in small letters, and where it ends.
fn name_of(question: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), HEADER_BYTES);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        // A question has no reason to point elsewhere.
        if length > 63 {
            return None;
        }
        if length == 0 {
            return Some((name, at));
        }
        let label = question.get(at..at + length)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        // The class, and an option behind the question.
        bytes.extend_from_slice(&[0, 1, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn f06_a_name_is_unknown_at_once_unless_it_is_the_guests_own() {
        let unknown = reply(&question("example.org", KIND_A)).unwrap();
        assert_eq!(unknown[..4], [0xab, 0xcd, 0x85, 0x83]);
        assert_eq!(unknown[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(unknown.len(), HEADER_BYTES + 13 + 4);
        for (name, kind, address) in [
            ("LocalHost", KIND_A, &[127, 0, 0, 1][..]),
            ("api.localhost", KIND_A, &[127, 0, 0, 1]),
            (HOSTNAME, KIND_AAAA, &Ipv6Addr::LOCALHOST.octets()),
        ] {
            let known = reply(&question(name, kind)).unwrap();
            assert_eq!((known[3] & 15, known[7]), (0, 1), "{name}");
            assert!(known.ends_with(address), "{name}");
        }
        let no_such_kind = reply(&question("localhost", 16)).unwrap();
        assert_eq!((no_such_kind[3] & 15, no_such_kind[7]), (0, 0));
    }

    #[test]
    fn f06_what_is_no_question_is_not_answered() {
        let whole = question("a.b", KIND_A);
        assert!((0..HEADER_BYTES + 9).all(|length| reply(&whole[..length]).is_none()));
        let mut response = whole.clone();
        response[2] |= 0x80;
        let mut pointer = whole;
        pointer[HEADER_BYTES] = 0xc0;
        assert_eq!((reply(&response), reply(&pointer)), (None, None));
    }
}
