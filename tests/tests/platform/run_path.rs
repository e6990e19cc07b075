//! The function's URL: any method, path and query; bodies streamed both ways; deadlines kept.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::{Answer, Platform, http, run_steps, steps};

/// A request with a method, headers and a body, on a connection of its own.
pub(crate) fn send(method: &str, url: &str, key: Option<&str>, headers: &str, body: &[u8]) -> Answer {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authorization = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let length =
        if body.is_empty() && method == "GET" { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{authorization}{length}{headers}\r\n"
    );
    http(host, &[head.as_bytes(), body].concat())
}

/// `GET`
pub(crate) fn get(url: &str, key: Option<&str>) -> Answer {
    send("GET", url, key, "", b"")
}

/// The body without its chunks.
pub(crate) fn plain(answer: &Answer) -> Vec<u8> {
    if answer.header("transfer-encoding") != Some("chunked") {
        return answer.body.clone();
    }
    let (mut rest, mut body) = (&answer.body[..], Vec::new());
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    body
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&plain(answer)).into_owned()
}

#[test]
fn whatever_is_asked_reaches_a_fresh_instance_and_streams() {
    let platform = Platform::start();
    let steps = steps![
        bodies_stream_both_ways_and_end_at_their_limits,
        any_method_path_and_query_reach_the_function,
        each_run_has_a_fresh_instance,
    ];
    run_steps(&platform, &steps);
}

fn any_method_path_and_query_reach_the_function(platform: &Platform) {
    let bea = platform.user("bea");
    bea.deploy("probe", "--timeout 5s");
    let key = bea.token();
    let base = format!("{}/f/bea/probe", platform.url);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"] {
        let answer = send(method, &format!("{base}/a%20b//c?x=1&y=%2f&z"), Some(&key), "", b"");
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        let shown = text(&answer);
        assert!(shown.contains("/a%20b//c x=1&y=%2f&z"), "{method}: {shown}");
        assert!(shown.to_uppercase().contains(method), "{method}: {shown}");
    }
    let head = send("HEAD", &format!("{base}/"), Some(&key), "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    // No path at all is `/`.
    assert!(text(&get(&base, Some(&key))).contains(" / "), "{:?}", get(&base, Some(&key)));
    // The version and the alias in the URL.
    assert_eq!(get(&format!("{base}@v1/"), Some(&key)).status, 200);
    assert_eq!(get(&format!("{base}@live/"), Some(&key)).status, 200);
    assert_eq!(get(&format!("{base}@v9/"), Some(&key)).status, 404);
    // A function's own host, for browsers.
    let request = format!(
        "GET /x HTTP/1.1\r\nhost: probe--bea.localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    let answer = http(platform.address(), request.as_bytes());
    assert!(text(&answer).contains(" /x "), "{answer:?}");
    for name in ["x-crowdcloud-run", "x-crowdcloud-node", "server-timing"] {
        assert!(answer.header(name).is_some(), "{name} is missing: {answer:?}");
    }
}

fn each_run_has_a_fresh_instance(platform: &Platform) {
    let cleo = platform.user("cleo");
    cleo.deploy("hello", "");
    for _ in 0..50 {
        let shown = cleo.ok("invoke hello");
        assert!(shown.contains("request 1 of this instance"), "{shown}");
    }
}

fn bodies_stream_both_ways_and_end_at_their_limits(platform: &Platform) {
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 60s --body 64MiB");
    let key = ada.token();
    let base = format!("{}/f/ada/probe", platform.url);

    // Beyond the default limit of 32 MiB, intact.
    let big: Vec<u8> = (0..48 * 1024 * 1024_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let answer = send("POST", &format!("{base}/echo"), Some(&key), "", &big);
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(plain(&answer) == big, "the echo differs");
    assert_eq!(plain(&get(&format!("{base}/bytes?n=40000000"), Some(&key))).len(), 40_000_000);

    // Too large, said before and found out on the way.
    let head =
        format!("POST /f/ada/probe/count HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n", platform.address());
    let said =
        http(platform.address(), format!("{head}content-length: 99999999\r\nconnection: close\r\n\r\n").as_bytes());
    assert_eq!(said.status, 413, "{said:?}");
    let mut long = format!("{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n").into_bytes();
    for _ in 0..65 {
        long.extend_from_slice(b"100000\r\n");
        long.resize(long.len() + 1024 * 1024, b'x');
        long.extend_from_slice(b"\r\n");
    }
    long.extend_from_slice(b"0\r\n\r\n");
    let found = http(platform.address(), &long);
    assert_eq!(found.status, 413, "{}", found.head);

    // What the function writes arrives when it is written, not at the end.
    let (first, last) = drip(platform.address(), &key);
    assert!(last > first + Duration::from_millis(800), "the first piece came after {first:?}, the last after {last:?}");
}

/// When the first and the last byte of a slow answer's body came.
fn drip(address: &str, key: &str) -> (Duration, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /f/ada/probe/drip?n=5&ms=400&bytes=10 HTTP/1.1\r\nhost: {address}\r\n\
         authorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut bytes, mut first, mut piece) = (Vec::new(), None, [0; 4096]);
    loop {
        let read = stream.read(&mut piece).unwrap();
        if read == 0 {
            return (first.unwrap(), started.elapsed());
        }
        bytes.extend_from_slice(&piece[..read]);
        let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| bytes.len() - at - 4);
        if body > 0 && first.is_none() {
            first = Some(started.elapsed());
        }
    }
}

#[test]
fn a_deadline_ends_a_run_at_most_100_ms_late() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 1s");
    let key = ada.token();
    for path in ["/loop", "/sleep?ms=5000"] {
        // What else the machine does is not ours: the best of three.
        let mut took = Duration::MAX;
        for _ in 0..3 {
            let answer = get(&format!("{}/f/ada/probe{path}", platform.url), Some(&key));
            assert_eq!(answer.status, 504, "{path}: {answer:?}");
            assert!(answer.header("proxy-status").is_some_and(|status| status.contains("timed_out")), "{answer:?}");
            assert!(answer.took >= Duration::from_millis(990), "{path}: {:?}", answer.took);
            took = took.min(answer.took);
        }
        assert!(took <= Duration::from_millis(1100), "{path}: {took:?}");
    }
}
