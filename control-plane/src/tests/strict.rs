//! What a request says and nobody would heed is refused, with the place where it stands.

use http::{Method, StatusCode};
use protocol::{Code, Problem};
use serde_json::json;

use super::harness::{Answer, Ground};

fn told(answer: &Answer) -> (u16, Code, String) {
    let problem: Problem = answer.read();
    (answer.status.as_u16(), problem.code, problem.field.map(|field| field.to_string()).unwrap_or_default())
}

fn named(status: u16, code: Code, field: &str) -> (u16, Code, String) {
    (status, code, field.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f34_queries_have_known_parameters_only() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    for (path, field) in [
        ("/jobs?nope=1", "nope"),
        ("/jobs?after=zzz", "after"),
        ("/jobs?Limit=3", "Limit"),
        ("/invocations?status=10xx", "status"),
        ("/invocations?key=x", "key"),
        ("/invocations?from=yesterday", "from"),
        ("/functions?limit=3&colour=red", "colour"),
        ("/functions/hello?x", "x"),
        ("/functions/hello/usage?from=x", "from"),
        ("/functions/hello/logs?limit=3", "limit"),
        ("/me?x=1", "x"),
        ("/limits?=1", ""),
        ("/jobs/events?last=3", "last"),
        ("/jobs?state=dead&state=dead", "state"),
        ("/jobs?limit=0", "limit"),
        ("/jobs?limit=201", "limit"),
        ("/nodes?limit=1000", "limit"),
        ("/nodes?cursor=!", "cursor"),
        ("/nodes?all=maybe", "all"),
    ] {
        let answer = ada.get(path).await;
        assert_eq!(told(&answer), named(400, Code::InvalidRequest, field), "{path}: {answer:?}");
    }
    let kept = ada.delete("/functions/hello?force=1").await;
    assert_eq!(told(&kept), named(400, Code::InvalidRequest, "force"));
    assert_eq!(told(&ada.post("/keys?x=1", json!({})).await), named(400, Code::InvalidRequest, "x"));
    assert_eq!(ada.get("/functions/hello").await.status, StatusCode::OK, "it was not deleted");
    for path in ["/jobs?", "/jobs?limit=200", "/jobs?&limit=1&", "/nodes?limit=1", "/functions/hello/logs?follow=false"]
    {
        assert_eq!(ada.get(path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(ada.raw(Method::HEAD, "/api/v1/functions?x=1", Vec::new()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ada.raw(Method::HEAD, "/api/v1/functions?limit=1", Vec::new()).await.status, StatusCode::OK);

    for id in ["x", "-1", "1.5", "", "99999999999999999999"] {
        let answer = ada.with("last-event-id", id).get("/jobs/events").await;
        assert_eq!(told(&answer), named(400, Code::InvalidRequest, "Last-Event-ID"), "{id:?}");
    }
    drop(ada.with("last-event-id", "0").stream("/api/v1/jobs/events").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f34_what_is_not_there_names_its_parameter() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let job = protocol::JobId::new();
    for (method, path, code, field) in [
        (Method::GET, "/jobs/xyz", Code::NotFound, "id"),
        (Method::GET, "/jobs/xyz/logs", Code::NotFound, "id"),
        (Method::GET, &format!("/jobs/{job}"), Code::NotFound, "id"),
        (Method::POST, &format!("/jobs/{job}/cancel"), Code::NotFound, "id"),
        (Method::GET, "/invocations/zz", Code::NotFound, "run"),
        (Method::DELETE, "/keys/xx", Code::NotFound, "id"),
        (Method::DELETE, &format!("/keys/{}", protocol::KeyId::new()), Code::NotFound, "id"),
        (Method::DELETE, "/members/xx", Code::NotFound, "user"),
        (Method::DELETE, "/invitations/xx", Code::NotFound, "id"),
        (Method::GET, "/invitations/by-token/nope", Code::InvitationInvalid, "token"),
        (Method::GET, "/functions/nope", Code::FunctionNotFound, "name"),
        (Method::GET, "/functions/nope/versions/1", Code::FunctionNotFound, "name"),
        (Method::GET, "/functions/hello/versions/9", Code::VersionNotFound, "reference"),
        (Method::GET, "/functions/hello/aliases/none", Code::VersionNotFound, "alias"),
        (Method::GET, "/functions/%ff", Code::NotFound, "name"),
        (Method::GET, "/queues/none", Code::NotFound, "name"),
        (Method::GET, "/triggers/none", Code::NotFound, "name"),
        (Method::GET, "/accounts/none", Code::NotFound, "name"),
    ] {
        let answer = ada.send(method.clone(), &format!("/api/v1{path}"), None).await;
        assert_eq!(told(&answer), named(404, code, field), "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Problem::MEDIA_TYPE);
    }
    // What the body or a header names, is named so.
    let answer = ada.post("/jobs", json!({"function": "nope"})).await;
    assert_eq!(told(&answer), named(404, Code::FunctionNotFound, "function"));
    let repeated = ada.with("idempotency-key", "k");
    for _ in 0..2 {
        let answer = repeated.post(&format!("/jobs/{job}/cancel"), json!({})).await;
        assert_eq!(told(&answer), named(404, Code::NotFound, "id"), "also where it is repeated");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a24_bodies_are_objects() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "probe").await;
    ada.put("/queues/q", json!({})).await;
    for (method, path, body, field) in [
        (Method::POST, "/keys", json!(["arr", ["read"]]), "$"),
        (Method::POST, "/jobs", json!(["probe"]), "$"),
        (Method::POST, "/jobs/arrays", json!({"job": ["probe"], "inputs": [{"text": ""}]}), "job"),
        (Method::POST, "/invitations", json!(["member"]), "$"),
        (Method::PATCH, "/functions/probe", json!([]), "$"),
        (Method::PATCH, "/functions/probe", json!([true]), "$"),
        (Method::PUT, "/functions/probe/aliases/live", json!({"shares": [[1, 100]]}), "shares[0]"),
        (Method::PUT, "/queues/q2", json!([]), "$"),
        (Method::POST, "/queues/q/lease", json!([]), "$"),
        (Method::POST, "/functions/probe/rollback", json!([]), "$"),
        (Method::POST, "/keys", json!({"name": "many", "scopes": vec!["read"; 1000]}), "scopes[1]"),
    ] {
        let answer = ada.send(method.clone(), &format!("/api/v1{path}"), Some(body.clone())).await;
        assert_eq!(told(&answer), named(422, Code::InvalidField, field), "{method} {path} {body}: {answer:?}");
    }
    let twice = br#"{"function":"probe","labels":{"a":"1","a":"2"}}"#.to_vec();
    let answer = ada.raw(Method::POST, "/api/v1/jobs", twice).await;
    assert_eq!(told(&answer), named(422, Code::InvalidField, "labels.a"));
    // How much is too much is said.
    for (path, most) in
        [("/api/v1/functions", ground.app.config.body_max), ("/api/v1/keys", ground.app.config.identity_body_max)]
    {
        let answer = ada.raw(Method::POST, path, vec![b' '; most.as_usize() + 1]).await;
        assert_eq!(told(&answer), named(413, Code::BodyTooLarge, "$"));
        assert!(answer.read::<Problem>().detail.contains(&most.to_string()), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a16_names_notes_and_labels_can_be_seen() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "probe").await;
    let hidden = ["a\u{0}b", "a\u{202e}\u{7}x", "\u{9b}31m", "a\u{200b}b", "a\nb", "\u{feff}a", "\u{2066}a"];
    for text in hidden {
        let asked = [
            ("/keys", json!({"name": text, "scopes": ["read"]}), "name"),
            ("/invitations", json!({"role": "member", "email": text}), "email"),
            ("/jobs", json!({"function": "probe", "labels": {"stage": text}}), "labels.stage"),
        ];
        for (path, body, field) in asked {
            let answer = ada.post(path, body).await;
            assert_eq!(told(&answer), named(422, Code::InvalidField, field), "{path} {text:?}: {answer:?}");
        }
        let asked = json!({"email": format!("{text}@example.org"), "password": "correct horse", "account": "eve"});
        assert_eq!(told(&ground.anonymous().post("/signup", asked).await), named(422, Code::InvalidField, "email"));
    }
    for text in ["Grüße, 世界", "🦀 👩\u{200d}💻"] {
        assert_eq!(ada.post("/keys", json!({"name": text, "scopes": ["read"]})).await.status, StatusCode::CREATED);
        let labelled = ada.post("/jobs", json!({"function": "probe", "labels": {"stage": text}})).await;
        assert_eq!(labelled.status, StatusCode::ACCEPTED, "{labelled:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_the_status_is_the_true_one_whatever_is_accepted() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    for (number, accepted) in ["identity;q=0", "*;q=0", "gzip;q=0, *;q=0", "identity; Q=0.0, br;q=0"].iter().enumerate()
    {
        let client = ada.with("accept-encoding", accepted);
        let made = client.post("/keys", json!({"name": format!("k{number}"), "scopes": ["read"]})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{accepted}: {made:?}");
        assert!(made.read::<protocol::api::Key>().secret.is_some());
        assert_eq!(client.get("/functions/none").await.status, StatusCode::NOT_FOUND, "{accepted}");
        // `stream` asserts 200.
        drop(client.stream("/api/v1/jobs/events").await);
    }
    // Who takes a coding and refuses plain answers, gets the coding.
    let document = ada.with("accept-encoding", "gzip, identity;q=0").get("/openapi.json").await;
    assert_eq!((document.status, document.header("content-encoding")), (StatusCode::OK, "gzip"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_only_json_is_read_as_json() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    for form in ["text/plain;json", "multipart/form-data; boundary=json", "text/plain; a=application/json", "text/json"]
    {
        let answer = ada.with("content-type", form).post("/functions", json!({"name": "made"})).await;
        assert_eq!(told(&answer), named(400, Code::InvalidRequest, "Content-Type"), "{form}");
    }
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"] {
        let answer = ada.with("content-type", kind).patch("/functions/none", json!({})).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{kind}: {answer:?}");
    }
}
