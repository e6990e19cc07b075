//! What of a response's framing is the function's, and what is one connection's.

use std::sync::Arc;

use bytes::Bytes;
use fabric::{BodyError, Exchange};
use http::{HeaderMap, HeaderValue, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::Millis;
use tokio::sync::Notify;

use crate::client::{Client, request};
use crate::node::text;
use crate::platform::Platform;

#[tokio::test]
async fn f13_f15_versions_and_lengths_are_of_the_connection_that_they_are_on() {
    let platform = Platform::start().await;
    platform.deploy("framed", |_| {}).await;
    let _node = platform
        .node(|request| {
            Box::pin(async move {
                let status: u16 = request.uri().path().trim_start_matches('/').parse().unwrap();
                let response = Response::builder().status(status).version(Version::HTTP_10);
                match status {
                    // Against the rules, and to be mended: a 205 has no body.
                    205 => response.header("content-length", "4").body(fabric::full("body")),
                    200 if request.method() == "GET" => response.body(fabric::full("body")),
                    _ => response.header("content-length", "1234").body(fabric::empty()),
                }
                .unwrap()
            })
        })
        .await;
    // All on one connection: nothing of these responses ends it.
    let mut client = Client::connect(platform.port).await;
    for (method, path, length) in
        [("HEAD", "200", "1234"), ("GET", "304", ""), ("HEAD", "304", "1234"), ("GET", "205", "0"), ("GET", "200", "4")]
    {
        client.send(request(method, &format!("/f/ada/framed/{path}"), &[], b"")).await;
        let answer = client.answer(method == "HEAD").await;
        assert_eq!(answer.status.to_string(), path, "{answer:?}");
        assert_eq!((answer.version.as_str(), answer.header("content-length")), ("HTTP/1.1", length), "{answer:?}");
        assert!(!answer.header("connection").contains("close"), "{answer:?}");
    }
}

#[tokio::test]
async fn f17_a_caller_that_sends_no_more_gets_its_response() {
    let platform = Platform::start_with(|config| config.half_closed = Millis(200)).await;
    platform.deploy("slow", |_| {}).await;
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, cancelled) = (Arc::clone(&go), Arc::clone(&gone));
    let node = platform
        .node(move |request| {
            let (wait, cancelled) = (Arc::clone(&wait), Arc::clone(&cancelled));
            Box::pin(async move {
                let exchange = request.extensions().get::<Exchange>().unwrap().clone();
                tokio::select! {
                    () = wait.notified() => {}
                    () = exchange.cancelled.cancelled() => cancelled.notify_one(),
                }
                text("late")
            })
        })
        .await;
    let chunked = [("transfer-encoding", "chunked")];
    let chunks = [request("POST", "/f/ada/slow/", &chunked, b""), b"3\r\nabc\r\n0\r\n\r\n".to_vec()].concat();
    let complete = [request("GET", "/f/ada/slow/", &[], b""), request("POST", "/f/ada/slow/", &[], b"abc"), chunks];
    for (number, complete) in (1..).zip(complete) {
        let mut client = Client::connect(platform.port).await;
        client.send(complete).await;
        client.send_no_more().await;
        while node.called() < number {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "late"), "{answer:?}");
        assert!(client.closed().await, "nothing more can come");
    }
    // Nobody waits for ever for a caller that may have gone.
    let mut client = Client::connect(platform.port).await;
    client.send(request("GET", "/f/ada/slow/", &[], b"")).await;
    client.send_no_more().await;
    gone.notified().await;
    assert!(client.closed().await);
}

#[tokio::test]
async fn f19_trailers_reach_whoever_takes_them() {
    let platform = Platform::start().await;
    platform.deploy("trailing", |_| {}).await;
    let _node = platform
        .node(|request| {
            Box::pin(async move {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("7"));
                trailers.insert("set-cookie", HeaderValue::from_static("stolen=1"));
                trailers.insert("x-crowdcloud-run", HeaderValue::from_static("forged"));
                let said = request.headers().get("te").cloned();
                let frames = [Frame::data(Bytes::from_static(b"body")), Frame::trailers(trailers)];
                let frames = futures::stream::iter(frames.map(Ok::<_, BodyError>));
                let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
                response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum, set-cookie"));
                said.map(|said| response.headers_mut().insert("seen-te", said));
                response
            })
        })
        .await;
    let mut client = Client::connect(platform.port).await;
    for _ in 0..2 {
        client.send(request("GET", "/f/ada/trailing/", &[("te", "gzip, trailers"), ("connection", "te")], b"")).await;
        let head = client.head().await;
        assert_eq!((head.header("seen-te"), head.header("trailer")), ("trailers", "x-sum"), "{head:?}");
        assert_eq!(client.chunk().await.unwrap(), b"body");
        assert_eq!(client.trailers().await, "x-sum: 7\r\n");
        let observation = platform.observation(&head).await;
        assert_eq!(observation.outcome, protocol::receipt::Outcome::Succeeded);

        // On the same connection: who does not take them is not told of any.
        client.send(request("GET", "/f/ada/trailing/", &[], b"")).await;
        let answer = client.answer(false).await;
        assert_eq!((answer.text().as_str(), answer.header("trailer"), answer.header("seen-te")), ("body", "", ""));
    }
}
