//! What a function may well do.

use std::io::Write;

use wasip2::cli::environment::get_environment;
use wasip2::cli::{stderr::get_stderr, stdout::get_stdout};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

use crate::Query;

/// Streams are copied in pieces of this size.
const PIECE: usize = 64 * 1024;

/// Answers with this head, and with what `write` writes as the body.
pub fn stream(out: ResponseOutparam, status: u16, headers: &[(&str, &str)], write: impl FnOnce(&mut dyn Write)) {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header that can be set");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a status that can be set");
    let body = response.body().expect("the first body");
    ResponseOutparam::set(out, Ok(response));
    {
        let mut stream = body.write().expect("the first stream");
        write(&mut stream);
        let _ = Write::flush(&mut stream);
    }
    let _ = OutgoingBody::finish(body, None);
}

pub fn text(out: ResponseOutparam, status: u16, text: &str) {
    stream(out, status, &[("content-type", "text/plain; charset=utf-8")], |body| {
        let _ = body.write_all(text.as_bytes());
    });
}

/// Reads the request's body, piece by piece.
fn read(request: &IncomingRequest, mut each: impl FnMut(&[u8])) {
    let Ok(incoming) = request.consume() else { return };
    if let Ok(body) = incoming.stream() {
        while let Ok(piece) = body.blocking_read(PIECE as u64) {
            each(&piece);
        }
    }
    IncomingBody::finish(incoming);
}

pub fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let kind = request.headers().get("content-type").into_iter().next().unwrap_or_default();
    let kind = String::from_utf8(kind).unwrap_or_default();
    let kind = if kind.is_empty() { "application/octet-stream" } else { &kind };
    stream(out, 200, &[("content-type", kind)], |body| {
        read(request, |piece| {
            let _ = body.write_all(piece);
        });
    });
}

pub fn count(request: &IncomingRequest, out: ResponseOutparam) {
    let mut length = 0;
    read(request, |piece| length += piece.len());
    text(out, 200, &format!("{length}\n"));
}

pub fn bytes(out: ResponseOutparam, mut count: usize) {
    stream(out, 200, &[("content-type", "application/octet-stream")], |body| {
        let piece = vec![b'x'; PIECE];
        while count > 0 && body.write_all(&piece[..count.min(PIECE)]).is_ok() {
            count -= count.min(PIECE);
        }
    });
}

pub fn headers(request: &IncomingRequest, out: ResponseOutparam) {
    let mut lines = String::new();
    for (name, value) in request.headers().entries() {
        lines.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
    }
    text(out, 200, &lines);
}

pub fn with_headers(out: ResponseOutparam, query: &Query<'_>) {
    let headers: Vec<(&str, &str)> = query.pairs().collect();
    stream(out, 200, &headers, |body| {
        let _ = body.write_all(b"see the headers\n");
    });
}

pub fn environment(out: ResponseOutparam) {
    let lines: String = get_environment().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    text(out, 200, &lines);
}

/// A page must not be able to act as its viewer.
pub fn page(out: ResponseOutparam) {
    const PAGE: &str = "<!doctype html><title>probe</title><p id=result>waiting</p><script>
        const result = document.getElementById('result');
        const portal = new URLSearchParams(location.search).get('portal') || '';
        fetch(portal + '/api/v1/me', { credentials: 'include' })
            .then(answer => answer.text().then(text => { result.textContent = 'read ' + answer.status + ' ' + text; }))
            .catch(error => { result.textContent = 'refused ' + error; });
        </script>\n";
    stream(out, 200, &[("content-type", "text/html; charset=utf-8")], |body| {
        let _ = body.write_all(PAGE.as_bytes());
    });
}

/// One line on stderr.
pub fn log_line(line: &str) {
    let _ = get_stderr().write_all(format!("{line}\n").as_bytes());
}

pub fn log(out: ResponseOutparam, lines: u32, bytes: usize) {
    let mut stdout = get_stdout();
    for number in 1..=lines {
        if number % 2 == 1 {
            let _ = stdout.write_all(format!("line {number} {}\n", "o".repeat(bytes)).as_bytes());
        } else {
            log_line(&format!("line {number} {}", "e".repeat(bytes)));
        }
    }
    text(out, 200, &format!("{lines} lines\n"));
}

pub fn sleep(out: ResponseOutparam, ms: u64) {
    subscribe_duration(ms * 1_000_000).block();
    text(out, 200, &format!("slept {ms} ms\n"));
}

pub fn drip(out: ResponseOutparam, pieces: u32, ms: u64, bytes: usize) {
    stream(out, 200, &[("content-type", "application/octet-stream")], |body| {
        for number in 0..pieces {
            if number > 0 {
                subscribe_duration(ms * 1_000_000).block();
            }
            if body.write_all(&vec![b'.'; bytes]).and_then(|()| body.flush()).is_err() {
                return;
            }
        }
    });
}

pub fn fetch(out: ResponseOutparam, query: &Query<'_>) {
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if query.text("scheme") == Some("https") { Scheme::Https } else { Scheme::Http };
    let _ = request.set_scheme(Some(&scheme));
    let _ = request.set_authority(query.text("authority"));
    let _ = request.set_path_with_query(Some(query.text("path").unwrap_or("/")));
    let future = match outgoing_handler::handle(request, None) {
        Ok(future) => future,
        Err(error) => return text(out, 403, &format!("refused: {error:?}\n")),
    };
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => text(out, 200, &format!("answered {}\n", response.status())),
        Some(Ok(Err(error))) => text(out, 403, &format!("refused: {error:?}\n")),
        _ => text(out, 500, "no answer\n"),
    }
}
