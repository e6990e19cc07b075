//! HTTP by hand, where a client's good manners would be in the way.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status; 0 where there was no answer.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body, as it came.
    pub body: Vec<u8>,
    /// From the connection to the last byte.
    pub took: Duration,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends these very bytes and reads until the other side closes: the request should say `connection: close`.
///
/// # Panics
/// When there is no connection.
#[must_use]
pub fn http(address: &str, request: &[u8]) -> Answer {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut bytes = Vec::new();
    // Both at once: an answer that nobody reads would hold the request up.
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || drop(writer.write_all(request)));
        drop(stream.read_to_end(&mut bytes));
        drop(stream.shutdown(std::net::Shutdown::Both));
        drop(writing.join());
    });
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = bytes.get(end + 4..).unwrap_or_default().to_vec();
    Answer { status, head, body, took: started.elapsed() }
}
