//! What a response says of its own length.

use http_body_util::BodyExt as _;
use protocol::Code;

use super::{guest, problem};

#[tokio::test]
async fn f15_a_response_without_a_body_may_announce_the_length_of_another() {
    let bench = guest();
    let head = http::Request::head("/announce?status=200&length=1234").body(fabric::empty()).unwrap();
    let answered = bench.send(head).await;
    assert_eq!((answered.status(), answered.header("content-length")), (200, "1234"));
    assert_eq!(answered.text().await, "");

    let answered = bench.get("/announce?status=304&length=1234").await;
    assert_eq!((answered.status(), answered.header("content-length")), (304, "1234"));
    assert_eq!(answered.text().await, "");

    let answered = bench.get("/announce?status=205&length=0").await;
    assert_eq!(answered.status(), 205);
    assert_eq!(answered.text().await, "");
    // Elsewhere it is the body's.
    let (problem, _) = problem(bench.get("/announce?status=200&length=1234").await).await;
    assert_eq!(problem.status, 502, "{problem}");
    assert!(matches!(problem.code, Code::Trap | Code::InvalidResponse), "{problem}");
}

#[tokio::test]
async fn f19_trailers_of_a_function_leave_the_node() {
    /// Their names are known beforehand where the function has ended by then, as short ones nearly always have.
    const TRIES: u32 = 20;
    let bench = guest();
    let mut announced = false;
    for _ in 0..TRIES {
        let request = http::Request::get("/trailers").header("te", "trailers").body(fabric::empty()).unwrap();
        let answered = bench.send(request).await;
        announced |= answered.header("trailer") == "x-sum";
        let whole = answered.response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-sum"], "7");
        assert_eq!(whole.to_bytes(), "body");
        if announced {
            return;
        }
    }
    panic!("their names are never said beforehand, though the function does not say them");
}
