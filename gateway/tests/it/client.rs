//! An HTTP/1.1 client that sends exactly the bytes it is told to.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, Vec<String>>,
    pub(crate) body: Vec<u8>,
    /// The body broke off.
    pub(crate) broken: bool,
    pub(crate) took: Duration,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |values| &values[0])
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get(name).map(|values| values.iter().map(String::as_str).collect()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of a problem that the platform made.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let code = self.json()["code"].as_str().unwrap().to_owned();
        let proxy_status = self.header("proxy-status");
        assert!(proxy_status.starts_with("crowdcloud; error="), "{proxy_status}");
        assert!(proxy_status.ends_with(&format!("details=\"{code}\"")), "{proxy_status}");
        code
    }
}

impl Client {
    pub(crate) async fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// As `send`, to somebody who may have stopped reading.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes the sending side.
    pub(crate) async fn send_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Goes away by a reset, as whoever closes with something unread.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads that the body is wanted: `100 Continue`.
    pub(crate) async fn continued(&mut self) {
        while find(&self.read, b"\r\n\r\n").is_none() {
            assert!(self.more().await, "the connection ended: {:?}", self.read);
        }
        assert!(self.read.starts_with(b"HTTP/1.1 100"), "{:?}", String::from_utf8_lossy(&self.read));
    }

    /// Reads the head of an answer.
    pub(crate) async fn head(&mut self) -> Response {
        let started = Instant::now();
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
                if head.starts_with("HTTP/1.1 100") {
                    self.read.drain(..end + 4);
                    continue;
                }
                break end;
            }
            assert!(self.more().await, "the connection ended before an answer: {:?}", self.read);
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let mut lines = head.lines();
        let mut line = lines.next().unwrap().split(' ');
        let version = line.next().unwrap().to_owned();
        let status = line.next().unwrap().parse().unwrap();
        let mut headers = HashMap::<String, Vec<String>>::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        Response { version, status, headers, body: Vec::new(), broken: false, took: started.elapsed() }
    }

    /// Reads one answer. `bodiless`: it was a HEAD.
    pub(crate) async fn answer(&mut self, bodiless: bool) -> Response {
        let started = Instant::now();
        let mut response = self.head().await;
        if bodiless || matches!(response.status, 204 | 304) {
        } else if response.header("transfer-encoding") == "chunked" {
            loop {
                match self.chunk().await {
                    None => {
                        response.broken = true;
                        break;
                    }
                    Some(chunk) if chunk.is_empty() => break,
                    Some(chunk) => response.body.extend(chunk),
                }
            }
        } else {
            let length: usize = response.header("content-length").parse().unwrap_or(0);
            while self.read.len() < length && self.more().await {}
            response.broken = self.read.len() < length;
            let length = length.min(self.read.len());
            response.body = self.read.drain(..length).collect();
        }
        response.took = started.elapsed();
        response
    }

    /// Reads one chunk of a chunked body; nothing where it broke off.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let size = usize::from_str_radix(&String::from_utf8_lossy(&self.read[..end]), 16).unwrap();
                if self.read.len() >= end + 2 + size + 2 {
                    let chunk = self.read[end + 2..end + 2 + size].to_vec();
                    self.read.drain(..end + 2 + size + 2);
                    return Some(chunk);
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads a chunked body's end, and the headers in it.
    pub(crate) async fn trailers(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let end: Vec<u8> = self.read.drain(..end + 4).collect();
                let lines = String::from_utf8(end).unwrap();
                return lines.strip_prefix("0\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned();
            }
            assert!(self.more().await, "the body has no end: {:?}", self.read);
        }
    }

    /// Whether the other side closes without another byte.
    pub(crate) async fn closed(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    /// Waits until the other side closes, whatever it says before.
    pub(crate) async fn ended(&mut self) {
        while self.more().await {}
    }

    async fn more(&mut self) -> bool {
        self.read.reserve(64 << 10);
        let read = self.stream.read_buf(&mut self.read);
        let count = tokio::time::timeout(PATIENCE, read).await.expect("no answer for 20 s");
        count.unwrap_or(0) > 0
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// One request on a connection of its own.
pub(crate) async fn fetch(port: u16, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut client = Client::connect(port).await;
    client.send(request(method, target, headers, body)).await;
    client.answer(method == "HEAD").await
}

/// A request's bytes; `host` may be among the headers.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost:8080\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}
