//! A request without its guest: what goes over the connection, and what is said where there is none.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use parking_lot::Mutex;
use protocol::receipt::{Outcome, Usage};
use protocol::{ByteSize, Code, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Connect, Counted, Meter, NoConnection, NoWay, Through};
use crate::log::{Line, RunLogBook};
use crate::record::Record;
use crate::verdict::Verdict;

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

/// What fails once more than this is carried.
fn run_of(egress_bytes: u64) -> Run {
    run_with(Limits { egress_bytes: ByteSize(egress_bytes), ..Limits::default() })
}

/// A run, its log, and its end.
struct Run {
    record: Arc<Record>,
    lines: mpsc::Receiver<Line>,
    end: mpsc::Receiver<(Verdict, Usage)>,
}

fn run() -> Run {
    run_with(Limits::default())
}

fn run_with(limits: Limits) -> Run {
    let (sink, lines) = mpsc::channel();
    let (settled, end) = mpsc::channel();
    let log = RunLogBook::new(1000, move |line| sink.send(line).unwrap());
    let settle = Box::new(move |verdict, usage| settled.send((verdict, usage)).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let record = Record::new(limits, deadline, CancellationToken::new(), log, settle);
    Run { record: Arc::new(record), lines, end }
}

impl Run {
    /// What the log has so far.
    fn said(&self) -> Vec<String> {
        self.lines.try_iter().map(|line| line.text).collect()
    }

    fn egress_bytes(&self) -> u64 {
        self.record.add_egress(0)
    }

    async fn send(&self, out: &dyn super::Egress, uri: &str) -> Result<super::Sent, Error> {
        self.send_this(out, request(uri)).await
    }

    async fn send_this(&self, out: &dyn super::Egress, request: http::Request<WasiBody>) -> Result<super::Sent, Error> {
        let sent = out.hooks(&self.record).send_request(request, None, Box::new(async { Ok(()) }));
        Box::into_pin(sent).await
    }

    /// It has carried more than it may, and is over.
    fn cut(self, limit: &str) -> Usage {
        let Self { record, lines, end } = self;
        assert!(record.stop.is_cancelled(), "the guest is stopped");
        drop(record);
        let (verdict, usage) = end.try_recv().unwrap();
        let detail = format!("the function's own connections carried more than {limit}");
        let wanted = Verdict { outcome: Outcome::Failed, code: Some(Code::EgressLimit), detail };
        assert_eq!(verdict, wanted);
        assert!(lines.try_iter().any(|line| line.text == wanted.line().unwrap()), "its log says so");
        usage
    }
}

#[tokio::test]
async fn a_request_goes_over_what_connects() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let out = Through::new(Given(Mutex::new((Some(ours), Vec::new()))));
    let run = run();
    let serve = async {
        let mut head = vec![0; 1024];
        let count = theirs.read(&mut head).await.unwrap();
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        String::from_utf8(head[..count].to_vec()).unwrap()
    };
    let (answer, head) = tokio::join!(run.send(&out, "http://api.example.com/a?b=c"), serve);
    let (response, rest) = answer.unwrap();
    let (body, rest) = tokio::join!(response.into_body().collect(), Box::into_pin(rest));
    assert_eq!(body.unwrap().to_bytes(), "hello");
    rest.unwrap();
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    assert_eq!(run.egress_bytes(), (head + "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").len() as u64);

    // What is not told of its scheme is secure.
    for uri in ["https://[::1]/", "http://a:81/"] {
        assert!(matches!(run.send(&out, uri).await, Err(Error::DestinationIpProhibited)), "{uri}");
    }
    let asked = out.0.0.lock().1.clone();
    assert_eq!(asked, [("api.example.com".to_owned(), 80), ("[::1]".to_owned(), 443), ("a".to_owned(), 81)]);
    assert_eq!(run.said(), ["no connection to [::1]:443: it is mine", "no connection to a:81: it is mine"]);
}

#[tokio::test]
async fn a_guest_without_a_way_out_is_denied_and_its_log_says_why_a_few_times() {
    let run = run();
    for _ in 0..100 {
        let denied = run.send(&Through::new(NoWay), "http://example.com/").await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)));
    }
    let said = run.said();
    assert_eq!(said.len(), 17);
    assert!(said[16].contains("not kept"), "{}", said[16]);
    assert!(said[0].contains("example.com:80") && said[0].contains("does not name it"), "{}", said[0]);
}

#[tokio::test]
async fn what_a_connection_carries_is_counted_for_the_run_that_is_there() {
    let (first, second) = (run(), run());
    let meter = Meter::of(&first.record);
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut ours = Counted::new(ours, meter.clone());
    ours.write_all(b"ping").await.unwrap();
    theirs.write_all(b"pong!").await.unwrap();
    ours.read_exact(&mut [0; 5]).await.unwrap();
    meter.turn_to(&second.record);
    ours.write_all(b"more").await.unwrap();
    assert_eq!((first.egress_bytes(), second.egress_bytes()), (9, 4));

    // A connection that is left keeps no run from its end.
    let Run { record, end, .. } = second;
    drop(record);
    assert!(end.try_recv().is_ok());
    ours.write_all(b"again").await.unwrap();
    assert_eq!(first.egress_bytes(), 9);
}

#[tokio::test]
async fn a_download_of_more_than_may_be_carried_is_cut_and_ends_the_run() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let out = Through::new(Given(Mutex::new((Some(ours), Vec::new()))));
    let run = run_of(10_000);
    let serve = tokio::spawn(async move {
        let mut sent = 0;
        assert!(theirs.read(&mut [0; 1024]).await.unwrap() > 0);
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        while theirs.write_all(&[b'x'; 100]).await.is_ok() {
            sent += 100;
        }
        sent
    });
    let (response, rest) = run.send(&out, "http://api.example.com/").await.unwrap();
    let (body, _) = tokio::join!(response.into_body().collect(), Box::into_pin(rest));
    assert!(body.is_err(), "it breaks off");
    drop(out);
    let sent = serve.await.unwrap();
    assert!((9_000..=13_000).contains(&sent), "{sent}: the connection is closed, and little more was on its way");
    let usage = run.cut("9.7KiB");
    assert!((10_000..=13_000).contains(&usage.egress_bytes.0), "{usage:?}");
}

#[tokio::test]
async fn an_upload_of_more_than_may_be_carried_is_cut_and_ends_the_run() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let out = Through::new(Given(Mutex::new((Some(ours), Vec::new()))));
    let run = run_of(10_000);
    let serve = tokio::spawn(async move {
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        got.len()
    });
    let body = http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; 1_000_000]));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let sent = run.send_this(&out, http::Request::post("http://api.example.com/").body(body).unwrap()).await;
    assert!(sent.is_err(), "it breaks off");
    drop((sent, out));
    let got = serve.await.unwrap();
    assert!((10_000..=12_000).contains(&got), "{got}");
    run.cut("9.7KiB");
}

#[tokio::test]
async fn as_much_as_may_be_carried_is_carried() {
    let run = run_of(9);
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut ours = Counted::new(ours, Meter::of(&run.record));
    ours.write_all(b"ping").await.unwrap();
    theirs.write_all(b"pong!").await.unwrap();
    drop(theirs);
    let mut got = Vec::new();
    ours.read_to_end(&mut got).await.unwrap();
    assert_eq!((got.as_slice(), run.egress_bytes()), (b"pong!".as_slice(), 9));
    assert_eq!(run.record.verdict(), None);
}

#[tokio::test]
async fn nothing_is_carried_any_more_on_any_connection_until_the_next_run() {
    let (first, second) = (run_of(10), run_of(10));
    let meter = Meter::of(&first.record);
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let mut ours = Counted::new(ours, meter.clone());
    ours.write_all(b"before").await.unwrap();
    // Between two runs a machine has what the last one has left.
    let Run { record, end, .. } = first;
    drop(record);
    assert_eq!(end.try_recv().unwrap().1.egress_bytes, ByteSize(6));
    assert_eq!(ours.write_all(b"after").await.unwrap_err().kind(), std::io::ErrorKind::QuotaExceeded);
    let (fresh, mut other) = tokio::io::duplex(1 << 10);
    let mut fresh = Counted::new(fresh, meter.clone());
    assert!(fresh.write_all(b"x").await.is_err() && fresh.read(&mut [0; 1]).await.is_err());
    drop(fresh);
    let mut got = Vec::new();
    other.read_to_end(&mut got).await.unwrap();
    assert!(got.is_empty(), "not one byte");
    meter.turn_to(&second.record);
    ours.write_all(b"again").await.unwrap();
    assert_eq!((second.egress_bytes(), second.record.verdict()), (5, None));
    drop((ours, theirs));
}
