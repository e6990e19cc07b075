//! WASI commands: the body on stdin, the head in the environment, stdout is the answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::BodyError;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::receipt::Outcome;
use protocol::{ByteSize, Code};

use super::problem;
use crate::egress::EgressRules;
use crate::testing::{Bench, wat_guest};

#[tokio::test]
async fn stdin_becomes_stdout() {
    let bench = Bench::new(&wat_guest("cat"));
    let answered = bench.post("/", "some text\n").await;
    assert_eq!((answered.status(), answered.header("content-type")), (200, "text/plain; charset=utf-8"));
    assert_eq!(answered.text().await, "some text\n");

    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    let (body, ended) = bench.post("/", large.clone()).await.read().await;
    assert!(body.unwrap() == large, "3 MB come back as they went");
    assert_eq!((ended.usage.bytes_in, ended.usage.bytes_out), (ByteSize(3_000_000), ByteSize(3_000_000)));

    let (empty, _) = bench.get("/").await.read().await;
    assert_eq!(empty.unwrap(), "");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_input() {
    let pieces = [Ok(Frame::data(Bytes::from_static(b"begun"))), Err(BodyError::Lost)];
    let body = StreamBody::new(futures::stream::iter(pieces)).boxed_unsync();
    let request = http::Request::post("/").body(body).unwrap();
    let (problem, ended) = problem(Bench::new(&wat_guest("cat")).send(request).await).await;
    assert_eq!((problem.code, problem.status), (Code::BodyIncomplete, 400));
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert!(ended.log.iter().any(|line| line.contains("body_incomplete: ")), "{:?}", ended.log);
}

#[tokio::test]
async fn the_head_is_in_the_environment() {
    let bench = Bench::new(&wat_guest("env")).with_surroundings(&[("COLOUR", "green")], EgressRules::default());
    let text = bench.post("/some/path?width=320", "x").await.text().await;
    let variables: Vec<&str> = text.split('\0').collect();
    for wanted in ["REQUEST_METHOD=POST", "PATH_INFO=/some/path", "QUERY_STRING=width=320", "COLOUR=green"] {
        assert!(variables.contains(&wanted), "{wanted} in {variables:?}");
    }
}

#[tokio::test]
async fn f18_each_name_is_there_once_and_the_requests_counts() {
    let own = [("PATH_INFO", "/lie"), ("COLOUR", "green")];
    let bench = Bench::new(&wat_guest("env")).with_surroundings(&own, EgressRules::default());
    let text = bench.get("/a%20b/c%2Fd;p=1").await.text().await;
    let variables: Vec<&str> = text.split_terminator('\0').collect();
    let mut names: Vec<&str> = variables.iter().filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    for wanted in ["PATH_INFO=/a b/c/d;p=1", "REQUEST_URI=/a%20b/c%2Fd;p=1", "SERVER_NAME=localhost", "COLOUR=green"] {
        assert!(variables.contains(&wanted), "{wanted} in {variables:?}");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "{variables:?}");
}

#[tokio::test]
async fn a_bad_exit_is_a_502_with_stderr_in_the_log() {
    let (problem, ended) = problem(Bench::new(&wat_guest("exit3")).get("/").await).await;
    assert_eq!((problem.code, problem.status), (Code::FunctionExit, 502));
    assert_eq!(problem.detail, "exit status 3");
    assert_eq!(ended.log[0], "no such file");
}

#[tokio::test]
async fn slow_output_is_seen_before_the_end() {
    let mut answered = Bench::new(&wat_guest("slow")).get("/").await;
    let first = answered.response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    let seen = Instant::now();
    assert_eq!(first, "soon\n");
    assert_eq!(answered.text().await, "");
    // It goes on for a second.
    assert!(seen.elapsed() > Duration::from_millis(300), "{:?}", seen.elapsed());
}

#[tokio::test]
async fn a_command_writes_no_faster_than_it_is_read() {
    let mut bench = Bench::new(&wat_guest("flood"));
    bench.limits.body = ByteSize::mib(100);
    let mut answered = bench.get("/").await;
    answered.response.body_mut().frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ended = answered.abandon().await;
    // What was taken is counted; the pipe holds no more than its bound, and the guest's CPU shows that it waited.
    assert!(ended.usage.bytes_out < ByteSize::mib(1), "{:?}", ended.usage);
    assert!(ended.usage.cpu_us < 100_000, "{:?}", ended.usage);
}
