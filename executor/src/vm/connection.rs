//! Connections to a server in a machine. One is kept for the next request, as long as its server keeps it too: some
//! close theirs after a response, or after a pause, without saying so, and a request that is on its way by then is lost.
//!
//! ```text
//! kept --open, and may be used--> request --response--> kept, unless the response says that it closes
//!   |                                |
//!   |                                +--closed before a response, nothing sent or repeatable--> fresh, once more
//!   +--closed, or not to be trusted--> fresh --> request
//! ```
//! What may not be sent twice (RFC 9110, 9.2.2) goes out on a kept connection only where its server is known to keep
//! them, because it has said so or has served a second request on one, and has never closed one. That one is still open
//! after some time proves nothing: a guest may be slow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use wasmtime_wasi_http::WasiBody;

/// A server that has not read the last request to its end by then is asked on another connection.
const READY_WITHIN: Duration = Duration::from_millis(50);
/// Servers close what idles: nobody's time for that is shorter.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// What is known of a version's server.
#[derive(Debug, Default)]
pub(super) struct Habit {
    keeps: AtomicBool,
    closed_one: AtomicBool,
}

impl Habit {
    /// A server of ours: it keeps connections.
    pub(super) fn known() -> Self {
        Self { keeps: AtomicBool::new(true), closed_one: AtomicBool::new(false) }
    }

    fn is_trusted(&self) -> bool {
        self.keeps.load(Ordering::Relaxed) && !self.closed_one.load(Ordering::Relaxed)
    }

    fn keeps(&self) {
        self.keeps.store(true, Ordering::Relaxed);
    }

    fn closed(&self) {
        self.closed_one.store(true, Ordering::Relaxed);
    }
}

/// A connection, and the task that moves its bytes.
pub(super) struct Connection {
    pub(super) sender: SendRequest<WasiBody>,
    driver: JoinHandle<()>,
    idle: Instant,
    /// The server has said that it closes it.
    closes: bool,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The server takes no connection.
    NotTaken,
    /// On a connection of its own.
    NoResponse(String),
    /// The server closed a connection that it had kept, perhaps after it read a request that may not be sent again.
    Closed,
}

impl Connection {
    pub(super) async fn open(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Option<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection into a machine ended");
            }
        });
        Some(Self { sender, driver, idle: Instant::now(), closes: false })
    }

    /// The same once more, now that its response has been read to the end; none where its server closes it.
    pub(super) fn keep(mut self) -> Option<Self> {
        self.idle = Instant::now();
        (!self.closes).then_some(self)
    }

    /// The same, where it is open and may carry this request.
    async fn again(mut self, repeatable: bool, habit: &Habit) -> Option<Self> {
        // Where the server has not read the last request to its end, it is not ready, nor closed.
        match tokio::time::timeout(READY_WITHIN, self.sender.ready()).await {
            Ok(Ok(())) if !self.driver.is_finished() => {}
            Ok(_) => {
                habit.closed();
                return None;
            }
            Err(_) => return None,
        }
        (repeatable || habit.is_trusted() && self.idle.elapsed() < IDLE_MAX).then_some(self)
    }
}

/// Sends a request on the kept connection or a fresh one, and waits for the response's head.
pub(super) async fn exchange<S>(
    kept: Option<Connection>,
    connect: impl Fn() -> Option<S>,
    mut request: http::Request<WasiBody>,
    habit: &Habit,
) -> Result<(Connection, http::Response<Incoming>), Failed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let copy = repeatable(&request);
    let mut used = match kept {
        Some(kept) => kept.again(copy.is_some(), habit).await,
        None => None,
    };
    loop {
        let reused = used.is_some();
        let mut connection = match used.take() {
            Some(connection) => connection,
            None => {
                let stream = connect().ok_or(Failed::NotTaken)?;
                Connection::open(stream).await.ok_or(Failed::NotTaken)?
            }
        };
        let mut failed = match connection.sender.try_send_request(request).await {
            Ok(response) => {
                connection.closes = says_close(&response);
                if reused || !connection.closes && has_option(&response, "keep-alive") {
                    habit.keeps();
                }
                return Ok((connection, response));
            }
            Err(failed) => failed,
        };
        let error = failed.error();
        if !reused || error.is_parse() || error.is_user() {
            return Err(Failed::NoResponse(error.to_string()));
        }
        habit.closed();
        // What has not left may go again in any case.
        request = failed.take_message().or_else(|| copy.as_ref().map(bodiless)).ok_or(Failed::Closed)?;
    }
}

/// The request's head, where doing it twice is as doing it once and there is no body that would be gone.
fn repeatable(request: &http::Request<WasiBody>) -> Option<http::Request<()>> {
    let idempotent =
        request.method().is_safe() || matches!(*request.method(), http::Method::PUT | http::Method::DELETE);
    (idempotent && request.body().is_end_stream()).then(|| {
        let mut copy = http::Request::new(());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}

fn bodiless(head: &http::Request<()>) -> http::Request<WasiBody> {
    head.clone().map(|()| Empty::new().map_err(|never| match never {}).boxed_unsync())
}

/// Whether the server says that this is the connection's last response.
fn says_close(response: &http::Response<Incoming>) -> bool {
    match response.version() {
        http::Version::HTTP_10 => !has_option(response, "keep-alive"),
        _ => has_option(response, "close"),
    }
}

/// Whether its `Connection` has this option.
fn has_option(response: &http::Response<Incoming>, option: &str) -> bool {
    let values = response.headers().get_all(http::header::CONNECTION).iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    options.any(|one| one.eq_ignore_ascii_case(option.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// What a server does once it has answered so many requests on a connection.
    #[derive(Clone, Copy)]
    enum Then {
        /// Closes at once.
        Closes,
        /// Reads the next request, and closes instead of answering.
        ReadsAndCloses,
    }

    /// Servers on connections of their own; how many there were.
    struct Servers {
        answers: usize,
        then: Then,
        /// Says that it keeps its connections.
        says_so: bool,
        connections: Cell<usize>,
    }

    impl Servers {
        fn new(answers: usize, then: Then) -> Self {
            Self { answers, then, says_so: false, connections: Cell::new(0) }
        }

        fn connect(&self) -> Option<DuplexStream> {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve(far, self.answers, self.then, self.says_so));
            self.connections.set(self.connections.get() + 1);
            Some(near)
        }

        /// One call, as a run makes it; what is kept goes on to the next.
        async fn call(
            &self,
            method: &str,
            kept: &mut Option<Connection>,
            habit: &Habit,
        ) -> Result<http::StatusCode, Failed> {
            let body = Full::new(Bytes::from_static(if method == "POST" { b"x" } else { b"" }));
            let body = body.map_err(|never| match never {}).boxed_unsync();
            let request = http::Request::builder().method(method).uri("/").body(body).unwrap();
            let (connection, response) = exchange(kept.take(), || self.connect(), request, habit).await?;
            let (head, body) = response.into_parts();
            body.collect().await.unwrap();
            *kept = connection.keep();
            Ok(head.status)
        }
    }

    async fn serve(mut stream: DuplexStream, answers: usize, then: Then, says_so: bool) {
        let kept = if says_so { "connection: keep-alive\r\n" } else { "" };
        for answered in 0..=answers {
            if answered == answers && matches!(then, Then::Closes) {
                return;
            }
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                    return;
                }
            }
            if answered < answers {
                let response = format!("HTTP/1.1 200 OK\r\n{kept}content-length: 0\r\n\r\n");
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn f12_a_server_that_closes_after_each_response_is_asked_on_fresh_connections() {
        for then in [Then::Closes, Then::ReadsAndCloses] {
            let (servers, habit, mut kept) = (Servers::new(1, then), Habit::default(), None);
            for call in 0..60 {
                let status = servers.call("GET", &mut kept, &habit).await;
                assert_eq!(status, Ok(http::StatusCode::OK), "call {call}");
            }
            // The server is known now: nothing that may not be repeated is risked.
            for call in 0..10 {
                let status = servers.call("POST", &mut kept, &habit).await;
                assert_eq!(status, Ok(http::StatusCode::OK), "POST {call}");
            }
            assert_eq!(servers.connections.get(), 70);
        }
    }

    #[tokio::test]
    async fn f12_the_first_of_all_calls_may_be_one_that_is_never_sent_twice() {
        let (servers, habit, mut kept) = (Servers::new(1, Then::Closes), Habit::default(), None);
        for call in 0..10 {
            let status = servers.call("POST", &mut kept, &habit).await;
            assert_eq!(status, Ok(http::StatusCode::OK), "POST {call}");
        }
        // A server that keeps its connections keeps one for all methods, once it has said so or has shown it.
        for (says_so, connections) in [(true, 1), (false, 2)] {
            let (servers, habit) = (Servers { says_so, ..Servers::new(100, Then::Closes) }, Habit::default());
            let mut kept = None;
            for method in ["POST", "POST", "GET", "DELETE", "POST"] {
                assert_eq!(servers.call(method, &mut kept, &habit).await, Ok(http::StatusCode::OK));
            }
            assert_eq!(servers.connections.get(), connections);
        }
    }

    #[tokio::test]
    async fn f12_what_may_have_been_done_is_not_done_again() {
        let (servers, habit, mut kept) = (Servers::new(1, Then::ReadsAndCloses), Habit::known(), None);
        assert_eq!(servers.call("POST", &mut kept, &habit).await, Ok(http::StatusCode::OK));
        assert_eq!(servers.call("POST", &mut kept, &habit).await, Err(Failed::Closed));
        assert_eq!(servers.connections.get(), 1);
        // Once it has closed one, it is not tried again.
        for _ in 0..10 {
            assert_eq!(servers.call("POST", &mut kept, &habit).await, Ok(http::StatusCode::OK));
        }
        let never = Servers::new(0, Then::ReadsAndCloses);
        assert!(matches!(never.call("GET", &mut None, &habit).await, Err(Failed::NoResponse(_))));
    }
}
