//! A request without its guest: what goes over the connection, and what is said where there is none.

use std::sync::mpsc;

use http_body_util::{BodyExt as _, Empty};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Connect, NoConnection, NoWay, Through};
use crate::log::{Line, RunLogBook};

/// Gives what it has, once, and notes for whom.
#[derive(Default)]
struct Given(Mutex<(Option<DuplexStream>, Asked)>);

/// Hosts and ports.
type Asked = Vec<(String, u16)>;

impl Connect for Given {
    type Stream = DuplexStream;

    async fn connect(&self, host: &str, port: u16) -> Result<DuplexStream, NoConnection> {
        let mut given = self.0.lock();
        given.1.push((host.to_owned(), port));
        given.0.take().ok_or_else(|| NoConnection::new(Error::DestinationIpProhibited, "it is mine"))
    }
}

fn request(uri: &str) -> http::Request<WasiBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    http::Request::get(uri).header("host", "x").body(body).unwrap()
}

fn book() -> (RunLogBook, mpsc::Receiver<Line>) {
    let (sink, lines) = mpsc::channel();
    (RunLogBook::new(1000, move |line| sink.send(line).unwrap()), lines)
}

async fn send(out: &dyn super::Egress, log: &RunLogBook, uri: &str) -> Result<super::Sent, Error> {
    let sent = out.hooks(log).send_request(request(uri), None, Box::new(async { Ok(()) }));
    Box::into_pin(sent).await
}

#[tokio::test]
async fn a_request_goes_over_what_connects() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let out = Through::new(Given(Mutex::new((Some(ours), Vec::new()))));
    let (log, lines) = book();
    let serve = async {
        let mut head = vec![0; 1024];
        let count = theirs.read(&mut head).await.unwrap();
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        String::from_utf8(head[..count].to_vec()).unwrap()
    };
    let (answer, head) = tokio::join!(send(&out, &log, "http://api.example.com/a?b=c"), serve);
    let (response, rest) = answer.unwrap();
    let (body, rest) = tokio::join!(response.into_body().collect(), Box::into_pin(rest));
    assert_eq!(body.unwrap().to_bytes(), "hello");
    rest.unwrap();
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");

    // What is not told of its scheme is secure.
    for uri in ["https://[::1]/", "http://a:81/"] {
        assert!(matches!(send(&out, &log, uri).await, Err(Error::DestinationIpProhibited)), "{uri}");
    }
    let asked = out.0.0.lock().1.clone();
    assert_eq!(asked, [("api.example.com".to_owned(), 80), ("[::1]".to_owned(), 443), ("a".to_owned(), 81)]);
    let said: Vec<_> = lines.try_iter().map(|line| line.text).collect();
    assert_eq!(said, ["no connection to [::1]:443: it is mine", "no connection to a:81: it is mine"]);
}

#[tokio::test]
async fn a_guest_without_a_way_out_is_denied_and_its_log_says_why_a_few_times() {
    let (log, lines) = book();
    for _ in 0..100 {
        let denied = send(&Through::new(NoWay), &log, "http://example.com/").await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)));
    }
    let said: Vec<_> = lines.try_iter().map(|line| line.text).collect();
    assert_eq!(said.len(), 17);
    assert!(said[16].contains("not kept"), "{}", said[16]);
    assert!(said[0].contains("example.com:80") && said[0].contains("does not name it"), "{}", said[0]);
}
