//! Bodies that are long or slow, in both directions at once.

use std::time::Duration;

use bytes::Bytes;
use fabric::BodyError;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::receipt::Outcome;
use protocol::{ByteSize, Code};
use tokio::sync::mpsc;

use super::guest;
use crate::testing::MachineLateness;

fn channel_body() -> (mpsc::Sender<Result<Frame<Bytes>, BodyError>>, fabric::Body) {
    let (sender, mut receiver) = mpsc::channel(1);
    let stream = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, StreamBody::new(stream).boxed_unsync())
}

#[tokio::test]
async fn an_echo_answers_while_the_request_goes_on() {
    let bench = guest();
    let (sender, body) = channel_body();
    let mut answered = bench.send(http::Request::post("/echo").body(body).unwrap()).await;
    for round in 0..5 {
        let text = format!("round {round}");
        sender.send(Ok(Frame::data(Bytes::from(text.clone())))).await.unwrap();
        let back = answered.response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(back, text);
    }
    drop(sender);
    let (rest, ended) = answered.read().await;
    assert_eq!(rest.unwrap(), "");
    assert_eq!((ended.usage.bytes_in, ended.usage.bytes_out), (ByteSize(35), ByteSize(35)));
}

#[tokio::test]
async fn a_request_that_breaks_off_ends_the_run_and_is_not_the_functions_fault() {
    let bench = guest();
    let (sender, body) = channel_body();
    let answered = bench.send(http::Request::post("/echo").body(body).unwrap()).await;
    sender.send(Ok(Frame::data(Bytes::from_static(b"begun")))).await.unwrap();
    sender.send(Err(BodyError::Lost)).await.unwrap();
    let (body, ended) = answered.read().await;
    assert!(body.is_err());
    assert_eq!((ended.verdict.outcome, ended.verdict.code), (Outcome::Cancelled, Some(Code::BodyIncomplete)));
    assert!(ended.log.iter().any(|line| line.contains("body_incomplete: ")), "{:?}", ended.log);
}

#[tokio::test]
async fn ten_megabytes_go_through_while_little_is_held() {
    let bytes = Bytes::from(vec![b'e'; 10 << 20]);
    let (body, ended) = guest().post("/echo", bytes.clone()).await.read().await;
    assert!(body.unwrap() == bytes);
    assert!(ended.usage.memory_peak < ByteSize::mib(8), "{:?}", ended.usage);
}

#[tokio::test]
async fn a_slow_reader_stops_the_guest_and_the_deadline_ends_both() {
    let mut bench = guest().with_timeout(400);
    bench.limits.body = ByteSize::mib(4096);
    let lateness = MachineLateness::measure();
    let answered = bench.get("/forever").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (body, ended) = answered.read().await;
    assert!(body.is_err());
    assert_eq!(ended.verdict.outcome, Outcome::TimedOut);
    let allowed = Duration::from_millis(550) + lateness.worst();
    assert!(ended.after < allowed, "{:?}, allowed {allowed:?}", ended.after);
}
