//! Servers that treat their connections otherwise than most.

use tests::Platform;

use super::{needs_vm_lane, program};
use crate::run_path::{plain, send};

/// Answers one request on each connection and closes it, without saying so; at `/old` as servers of HTTP/1.0 do.
const CURT: &str = r#"
use std::io::{Read, Write};
fn main() {
    let listener = std::net::TcpListener::bind(("0.0.0.0", std::env::var("PORT").unwrap().parse().unwrap())).unwrap();
    let mut count = 0;
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let (mut request, mut piece) = (Vec::new(), [0; 4096]);
        let complete = loop {
            let text = String::from_utf8_lossy(&request).to_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
                if body.len() >= length { break true; }
            }
            match connection.read(&mut piece) {
                Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                _ => break false,
            }
        };
        if !complete { continue; }
        count += 1;
        let body = format!("request {count} of this process");
        let head = match request.windows(4).any(|word| word == b"/old") {
            true => "HTTP/1.0 200 OK\r\n".to_owned(),
            false => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len()),
        };
        connection.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    }
}
"#;

/// Says how much memory its machine has, in KiB.
const SIZE: &str = r#"
use std::io::{Read, Write};
fn main() {
    let listener = std::net::TcpListener::bind(("0.0.0.0", std::env::var("PORT").unwrap().parse().unwrap())).unwrap();
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let _request = connection.read(&mut [0; 4096]).unwrap();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total = memory.split_whitespace().nth(1).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n", total.len());
        connection.write_all(format!("{head}\r\n{total}").as_bytes()).unwrap();
    }
}
"#;

pub(super) fn a_job_with_its_own_memory_gets_a_machine_of_that_size(platform: &Platform) {
    let gil = platform.user("gil");
    needs_vm_lane(&gil);
    program(&gil, "size", SIZE);
    gil.ok("deploy size --name size --kind server --memory 64MiB --timeout 60s");
    let kib = |command: &str| gil.ok(command).trim().parse::<u64>().unwrap();
    let small = kib("invoke size");
    let large = kib("jobs submit size --memory 400MiB --wait");
    assert!(small < 160 << 10 && large > 400 << 10, "{small} KiB, {large} KiB");
    assert_eq!(kib("invoke size"), small, "its version's own size");
    assert_eq!(kib("jobs submit size --timeout 30s --wait"), small, "a time of its own needs no other machine");
}

pub(super) fn f12_f13_a_server_may_close_its_connections_and_speak_http_1_0(platform: &Platform) {
    let hal = platform.user("hal");
    needs_vm_lane(&hal);
    program(&hal, "curt", CURT);
    hal.ok("deploy curt --name curt --kind server --memory 64MiB --timeout 20s");
    let key = hal.token();
    // By one process, since its machine is kept whatever becomes of its connections; while the first response is watched
    // for how its connection ends, the next request may get a machine of its own.
    let mut processes = 0;
    for count in 1..=60 {
        let method = if count % 3 == 0 { "POST" } else { "GET" };
        let path = if count % 4 == 0 { "old" } else { "new" };
        let body: &[u8] = if method == "POST" { b"four" } else { b"" };
        let answer = send(method, &format!("{}/f/hal/curt/{path}", platform.url), Some(&key), "", body);
        let text = String::from_utf8(plain(&answer)).unwrap();
        assert!(answer.head.starts_with("HTTP/1.1 200 "), "{method} {path}: {answer:?}");
        processes += usize::from(text == "request 1 of this process");
    }
    assert!(processes <= 2, "{processes} machines for 60 requests");
}
