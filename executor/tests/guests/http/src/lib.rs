//! A guest that does, by its path, what good and bad functions do.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::io::streams::StreamError;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

static REQUESTS: AtomicU32 = AtomicU32::new(0);

struct Misused;

wasip2::http::proxy::export!(Misused);

impl Guest for Misused {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/count" => text(out, &format!("{}", REQUESTS.fetch_add(1, Ordering::Relaxed) + 1)),
            "/headers" => text(out, &headers(&request)),
            "/env" => text(out, &env(query)),
            "/echo" => echo(&request, out),
            "/nothing" => {}
            "/error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("my fault".to_owned())))),
            "/trap" => panic!("a trap was wanted"),
            "/loop" => spin(),
            "/recurse" => text(out, &recurse(0).to_string()),
            "/eat" => eat(),
            "/late-trap" => stream(out, |_| panic!("too late")),
            "/late-loop" => stream(out, |_| spin()),
            "/forever" => stream(out, |body| while body.write_all(&[b'x'; 4096]).is_ok() {}),
            "/work" => work(query, out),
            "/print" => print(query, out),
            "/fetch" => fetch(query, out),
            "/sleep" => sleep(query, out),
            "/ours" => respond(out, 200, &[("x-crowdcloud-run", "forged"), ("x-own", "kept")], b"ok"),
            "/random" => random(query, out),
            "/fields" => hold(|| Fields::from_list(&[("name".to_owned(), vec![b'v'; 1000])]).unwrap()),
            "/pollables" => hold(|| wasip2::clocks::monotonic_clock::subscribe_duration(1 << 60)),
            "/fetch-often" => fetch_often(query, out),
            "/trailers" => trailers(query, out),
            "/announce" => announce(query, out),
            "/early" => respond(out, 100, &[], b""),
            _ => respond(out, 404, &[], b"no such behaviour"),
        }
    }
}

fn respond(out: ResponseOutparam, status: u16, headers: &[(&str, &str)], bytes: &[u8]) {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).unwrap();
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(bytes).unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// A body and a trailer. The machine's HTTP server wants it announced.
fn trailers(query: &str, out: ResponseOutparam) {
    let fields = Fields::new();
    if query == "announced" {
        fields.append("trailer", b"x-sum").unwrap();
    }
    let response = OutgoingResponse::new(fields);
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(b"body").unwrap();
    drop(stream);
    let trailers = Fields::new();
    trailers.append("x-sum", b"7").unwrap();
    OutgoingBody::finish(body, Some(trailers)).unwrap();
}

/// Announces a length and writes no body, with any status.
fn announce(query: &str, out: ResponseOutparam) {
    let length = number(query, "length").to_string();
    respond(out, number(query, "status") as u16, &[("content-length", &length)], b"");
}

fn text(out: ResponseOutparam, text: &str) {
    respond(out, 200, &[("content-type", "text/plain")], text.as_bytes());
}

/// Sets the head, writes a little, flushes, and goes on.
fn stream(out: ResponseOutparam, rest: impl FnOnce(&mut wasip2::io::streams::OutputStream)) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.blocking_write_and_flush(b"begun").unwrap();
    // Long enough for the head to leave.
    wasip2::clocks::monotonic_clock::subscribe_duration(50_000_000).block();
    rest(&mut stream);
    drop(stream);
    drop(OutgoingBody::finish(body, None));
}

fn headers(request: &IncomingRequest) -> String {
    let mut lines: Vec<String> = request
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(&value)))
        .collect();
    lines.sort();
    format!("{:?} {:?}\n{}", request.method(), request.path_with_query(), lines.join("\n"))
}

fn env(name: &str) -> String {
    // The proxy world has no environment of its own; the platform offers it all the same.
    wasip2::cli::environment::get_environment()
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
        .unwrap_or_default()
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let from = incoming.stream().unwrap();
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut to = body.write().unwrap();
    loop {
        match from.blocking_read(64 << 10) {
            Ok(bytes) => to.write_all(&bytes).unwrap(),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("the request's body: {error}"),
        }
    }
    drop(to);
    OutgoingBody::finish(body, None).unwrap();
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

fn recurse(depth: u64) -> u64 {
    // Small frames: the host's stack must end before the guest's own.
    if black_box(depth) == u64::MAX { 0 } else { recurse(depth + 1) ^ depth }
}

fn eat() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(black_box(vec![1; 1 << 20]));
    }
}

fn number(query: &str, name: &str) -> usize {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// Computes for so many rounds, touches so much memory, answers so many bytes.
fn work(query: &str, out: ResponseOutparam) {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for round in 0..number(query, "rounds") {
        for byte in 0..1000_u64 {
            hash = black_box((hash ^ byte ^ round as u64).wrapping_mul(0x100_0000_01b3));
        }
    }
    let mut memory = vec![0_u8; number(query, "touch")];
    for page in memory.chunks_mut(4096) {
        page[0] = hash as u8;
    }
    black_box(&memory);
    drop(memory);
    respond(out, 200, &[], &vec![b'w'; number(query, "bytes")]);
}

fn print(query: &str, out: ResponseOutparam) {
    // Without an operating system std writes nowhere: use the streams themselves.
    let stdout = wasip2::cli::stdout::get_stdout();
    for line in 0..number(query, "lines") {
        stdout.blocking_write_and_flush(format!("line {line}\n").as_bytes()).unwrap();
    }
    wasip2::cli::stderr::get_stderr().blocking_write_and_flush(b"an error without an end").unwrap();
    text(out, "printed");
}

/// Calls `http://<query>/`, or `https:` where the query begins so, and answers with what it got, or why it got nothing.
fn fetch(query: &str, out: ResponseOutparam) {
    let (scheme, authority) = match query.strip_prefix("https://") {
        Some(authority) => (Scheme::Https, authority),
        None => (Scheme::Http, query),
    };
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some("/")).unwrap();
    let result = match outgoing_handler::handle(request, None) {
        Err(error) => format!("{error:?}"),
        Ok(pending) => {
            pending.subscribe().block();
            match pending.get().unwrap().unwrap() {
                Err(error) => format!("{error:?}"),
                Ok(response) => {
                    let body = response.consume().unwrap();
                    let mut text = String::new();
                    body.stream().unwrap().read_to_string(&mut text).unwrap();
                    format!("{} {text}", response.status())
                }
            }
        }
    };
    text(out, &result);
}

/// Asks for so many random bytes at once, and answers with some of the last.
fn random(query: &str, out: ResponseOutparam) {
    let bytes = wasip2::random::random::get_random_bytes(number(query, "bytes") as u64);
    let last = &bytes[bytes.len().saturating_sub(number(query, "answer"))..];
    text(out, &last.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

/// Takes one more of the host's resources for ever.
fn hold<T>(take: impl Fn() -> T) -> ! {
    let mut held = Vec::new();
    loop {
        held.push(take());
    }
}

/// Makes so many outgoing requests whose address is malformed: it has no path.
fn fetch_often(query: &str, out: ResponseOutparam) {
    let mut failed = 0;
    for _ in 0..number(query, "times") {
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&Scheme::Http)).unwrap();
        request.set_authority(Some("a.example")).unwrap();
        failed += usize::from(outgoing_handler::handle(request, None).is_err());
    }
    text(out, &failed.to_string());
}

fn sleep(query: &str, out: ResponseOutparam) {
    wasip2::clocks::monotonic_clock::subscribe_duration(number(query, "ms") as u64 * 1_000_000).block();
    text(out, "slept");
}
