//! What of a response's framing is the function's, and what is one connection's.

use http::{Response, Version};

use crate::client::{Client, request};
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
    for (method, path, length) in [
        ("HEAD", "200", "1234"),
        ("GET", "304", "1234"),
        ("HEAD", "304", "1234"),
        ("GET", "205", "0"),
        ("GET", "200", "4"),
    ] {
        client.send(request(method, &format!("/f/ada/framed/{path}"), &[], b"")).await;
        let answer = client.answer(method == "HEAD").await;
        assert_eq!(answer.status.to_string(), path, "{answer:?}");
        assert_eq!((answer.version.as_str(), answer.header("content-length")), ("HTTP/1.1", length), "{answer:?}");
        assert!(!answer.header("connection").contains("close"), "{answer:?}");
    }
}
