//! Every input of every operation, wrong: the problem names it. The operations and their fields come from the document,
//! so that a new one is walked as well.

use http::Method;
use protocol::api::Me;
use protocol::node::Signature;
use protocol::{Code, Field, LeaseId, MessageId, Problem};
use serde_json::{Value, json};

use super::harness::{Answer, Client, Ground};

/// What a body has at this place is written over.
const HOLE: &str = "@@";

/// A body that each operation takes.
fn bodies(ada: &str) -> Vec<(&'static str, String, Value)> {
    let artifact = "0".repeat(64);
    let held = json!({"messages": [{"id": MessageId::new(), "lease": LeaseId::new()}]});
    let job = json!({"function": "hello"});
    let signature = Signature([0; 64]).to_string();
    let register = json!({
        "registration": "{}", "token_signature": signature, "receipt_signature": signature, "nats_signature": signature
    });
    let as_node = json!({"request": "{}", "signature": signature});
    vec![
        ("post", "/signup".into(), json!({"email": "e@example.org", "password": "correct horse", "account": "eve"})),
        ("post", "/sessions".into(), json!({"email": "e@example.org", "password": "correct horse"})),
        ("post", "/sessions/code".into(), json!({"code": "000000"})),
        ("post", "/password-resets".into(), json!({"email": "e@example.org"})),
        ("post", "/password-resets/use".into(), json!({"token": "guess", "password": "correct horse"})),
        ("put", "/me/second-factor".into(), json!({"password": "correct horse"})),
        ("put", "/me/second-factor/confirmed".into(), json!({"code": "000000"})),
        ("put", "/me/second-factor/recovery-codes".into(), json!({"password": "correct horse", "code": "000000"})),
        ("put", "/me/second-factor/off".into(), json!({"password": "correct horse", "code": "000000"})),
        ("put", "/me/password".into(), json!({"current": "correct horse", "new": "correct horses"})),
        ("post", "/accounts".into(), json!({"name": "other", "kind": "company"})),
        ("patch", format!("/members/{ada}"), json!({"role": "owner"})),
        ("post", "/invitations".into(), json!({"role": "member"})),
        ("post", "/invitations/accept".into(), json!({"token": "guess"})),
        ("post", "/nodes/tokens".into(), json!({"name": "attic"})),
        ("put", "/operator/store/copies".into(), json!({"copies": 1})),
        ("put", format!("/nodes/{NODE}/wish"), json!({})),
        ("post", format!("/nodes/{NODE}/confirm"), json!({"name": "attic", "fingerprint": "3f2a"})),
        ("post", "/nodes/vouch".into(), json!({"account": "ada"})),
        ("post", format!("/nodes/{NODE}/suspend"), json!({"reason": "it returns garbage"})),
        ("post", "/nodes/tokens/look".into(), json!({"query": "{}", "signature": signature})),
        ("post", "/nodes/register".into(), register),
        ("post", "/nodes/renew".into(), as_node.clone()),
        ("post", "/nodes/leave".into(), as_node),
        ("post", "/keys".into(), json!({"name": "ci", "scopes": ["read"]})),
        ("post", "/functions".into(), json!({"name": "another"})),
        ("patch", "/functions/hello".into(), json!({"public": true})),
        ("post", "/functions/hello/versions".into(), json!({"artifact": artifact})),
        ("put", "/functions/hello/aliases/canary".into(), json!({"shares": [{"version": 1, "weight": 100}]})),
        ("post", "/functions/hello/rollback".into(), json!({"to": 1})),
        ("post", "/jobs".into(), job.clone()),
        ("post", "/jobs/arrays".into(), json!({"job": job, "inputs": [{"text": "x"}]})),
        ("put", "/triggers/each".into(), json!({"cron": "@hourly", "job": job})),
        ("put", "/queues/orders".into(), json!({})),
        ("post", "/queues/orders/messages".into(), json!({"messages": [{"body": {"text": "x"}}]})),
        ("post", "/queues/orders/lease".into(), json!({})),
        ("post", "/queues/orders/ack".into(), held.clone()),
        ("post", "/queues/orders/release".into(), held),
    ]
}

/// A node that is nobody's.
const NODE: &str = "node_01930000000070008000000000000002";

/// Names in a path of the document, as these tests call things.
fn place(path: &str, ada: &str) -> String {
    let name = if path.contains("/queues/") { "orders" } else { "hello" };
    let name = if path.contains("/triggers/") { "each" } else { name };
    let path = path.replace("/nodes/{id}", &format!("/nodes/{NODE}"));
    path.trim_start_matches("/api/v1").replace("{name}", name).replace("{alias}", "canary").replace("{user}", ada)
}

struct Walk {
    ada: Client,
    document: Value,
}

impl Walk {
    /// The properties of an operation's body, and those that it needs.
    fn fields(&self, operation: &Value) -> Option<(Vec<String>, Vec<String>)> {
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let name = body.as_str()?.rsplit('/').next()?;
        let schema = &self.document["components"]["schemas"][name];
        let names = schema["properties"].as_object()?.keys().cloned().collect();
        let needed = schema["required"].as_array().into_iter().flatten();
        Some((names, needed.filter_map(|name| Some(name.as_str()?.to_owned())).collect()))
    }

    async fn says(&self, method: &str, path: &str, body: &str) -> Problem {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = self.ada.raw(method, &format!("/api/v1{path}"), body.as_bytes().to_vec()).await;
        assert!(answer.status.is_client_error(), "{path} {body}: {answer:?}");
        problem(&answer)
    }
}

fn problem(answer: &Answer) -> Problem {
    assert_eq!(answer.headers["content-type"], Problem::MEDIA_TYPE, "{answer:?}");
    answer.read()
}

fn field(problem: &Problem) -> &str {
    problem.field.as_ref().map_or("", Field::as_str)
}

fn with(body: &Value, name: &str, value: &str) -> String {
    let mut body = body.clone();
    body[name] = HOLE.into();
    body.to_string().replace(&format!("\"{HOLE}\""), value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_input_of_every_operation_is_named() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    assert!(ada.put("/queues/orders", json!({})).await.status.is_success());
    let id = ada.get("/me").await.read::<Me>().user.unwrap().id.to_string();
    let walk = Walk { document: ground.anonymous().get("/openapi.json").await.read(), ada };
    let bodies = bodies(&id);
    let mut walked = 0;
    for (path, operations) in walk.document["paths"].as_object().unwrap() {
        let path = place(path, &id);
        // The gateway answers.
        if path == "/functions/hello/test" {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let Some((names, needed)) = walk.fields(operation) else { continue };
            let body = bodies.iter().find(|(m, p, _)| *m == method.as_str() && *p == path);
            let (_, _, body) = body.unwrap_or_else(|| panic!("{method} {path}: no body stands in this test"));
            walked += 1;
            for name in &names {
                for (value, code) in [("[[]]", Code::InvalidField), ("1e309", Code::InvalidField)] {
                    let text = with(body, name, value);
                    let problem = walk.says(method, &path, &text).await;
                    assert_eq!(problem.code, code, "{method} {path} {text}: {problem}");
                    assert!(problem.field.as_ref().unwrap().is_in(name), "{method} {path} {text}: {problem:?}");
                }
                let text = with(body, name, "NaN");
                let problem = walk.says(method, &path, &text).await;
                assert_eq!(problem.code, Code::InvalidRequest, "{method} {path} {text}: {problem}");
                assert!(problem.detail.contains("line 1 column "), "{problem}");
                assert!(problem.field.is_some(), "{method} {path} {text}: {problem:?}");
            }
            for name in needed {
                let mut without = body.clone();
                without.as_object_mut().unwrap().remove(&name);
                let problem = walk.says(method, &path, &without.to_string()).await;
                assert_eq!((problem.code, field(&problem)), (Code::InvalidField, name.as_str()), "{method} {path}");
            }
            let problem = walk.says(method, &path, &with(body, "surprise", "1")).await;
            assert_eq!((problem.code, field(&problem)), (Code::InvalidField, "surprise"), "{method} {path}");
            for (text, code) in [("3", Code::InvalidField), ("{", Code::InvalidRequest)] {
                let problem = walk.says(method, &path, text).await;
                assert_eq!((problem.code, field(&problem)), (code, Field::BODY), "{method} {path} {text}");
            }
        }
    }
    assert_eq!(walked, bodies.len(), "each body is of an operation");
}

/// Values that are of the right type, and still not allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refused_value_is_named() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    ground.compiling(&ada, "hello").await;
    ground.function(&ada, "other").await;
    assert!(ada.put("/queues/orders", json!({})).await.status.is_success());
    let bodies = bodies("");
    let of = |wanted: &str| bodies.iter().find(|(_, path, _)| path == wanted).unwrap();
    let nothing = "1".repeat(64);
    let share = |version: u32, weight: u32| json!({"version": version, "weight": weight});
    let invalid = Code::InvalidField;
    for (path, member, value, code, field) in [
        ("/signup", "email", json!("nobody"), invalid, "email"),
        ("/signup", "email", json!("ada@example.org"), Code::EmailTaken, "email"),
        ("/signup", "password", json!("short"), invalid, "password"),
        ("/signup", "account", json!("A"), Code::InvalidName, "account"),
        ("/signup", "account", json!("ada"), Code::NameTaken, "account"),
        ("/signup", "account", Value::Null, invalid, "account"),
        ("/signup", "operator_token", json!("guess"), Code::InvitationInvalid, "operator_token"),
        ("/signup", "invitation", json!("guess"), Code::InvitationInvalid, "invitation"),
        ("/me/password", "new", json!("short"), invalid, "new"),
        ("/me/password", "current", json!("wrong horse"), Code::InvalidLogin, "current"),
        ("/password-resets", "email", json!("nobody"), invalid, "email"),
        ("/password-resets/use", "password", json!("short"), invalid, "password"),
        ("/password-resets/use", "token", json!("other"), Code::ResetInvalid, "token"),
        ("/me/second-factor", "password", json!("wrong horse"), Code::InvalidLogin, "password"),
        ("/accounts", "name", json!("-"), Code::InvalidName, "name"),
        ("/accounts", "name", json!("ada"), Code::NameTaken, "name"),
        ("/invitations", "email", json!("x".repeat(300)), invalid, "email"),
        ("/nodes/tokens", "name", json!(""), invalid, "name"),
        ("/nodes/tokens/look", "query", json!("no JSON"), Code::InvalidRequest, "query"),
        ("/nodes/register", "registration", json!("no JSON"), Code::InvalidRequest, "registration"),
        ("/nodes/register", "registration", json!("{}"), invalid, "registration"),
        ("/nodes/renew", "request", json!("{}"), invalid, "request"),
        ("/keys", "name", json!(""), invalid, "name"),
        ("/keys", "scopes", json!([]), invalid, "scopes"),
        ("/keys", "expires_days", json!(0), invalid, "expires_days"),
        ("/keys", "function", json!("none"), Code::FunctionNotFound, "function"),
        ("/functions", "name", json!("--"), Code::InvalidName, "name"),
        ("/functions", "name", json!("hello"), Code::NameTaken, "name"),
        ("/functions/hello", "name", json!("--"), Code::InvalidName, "name"),
        ("/functions/hello", "name", json!("other"), Code::NameTaken, "name"),
        ("/functions/hello/versions", "artifact", json!(nothing), Code::ArtifactNotFound, "artifact"),
        ("/functions/hello/versions", "limits", json!({"cpus": 0}), invalid, "limits.cpus"),
        ("/functions/hello/versions", "limits", json!({"memory": "9TiB"}), invalid, "limits.memory"),
        ("/functions/hello/versions", "limits", json!({"timeout": 1}), invalid, "limits.timeout"),
        ("/functions/hello/versions", "limits", json!({"body": "9TiB"}), invalid, "limits.body"),
        ("/functions/hello/versions", "limits", json!({"concurrency": 0}), invalid, "limits.concurrency"),
        ("/functions/hello/versions", "env", json!({"1": "x"}), invalid, "env"),
        ("/functions/hello/versions", "env", json!({"A": "\0"}), invalid, "env.A"),
        ("/functions/hello/versions", "egress", json!(["a.org", "http://b/"]), invalid, "egress[1]"),
        ("/functions/hello/versions", "command", json!(["a", "\0"]), invalid, "command[1]"),
        ("/functions/hello/versions", "alias", json!("v1"), Code::InvalidName, "alias"),
        ("/functions/hello/aliases/canary", "shares", json!([]), invalid, "shares"),
        ("/functions/hello/aliases/canary", "shares", json!([share(1, 99)]), invalid, "shares"),
        ("/functions/hello/aliases/canary", "shares", json!([share(1, 100), share(2, 0)]), invalid, "shares[1].weight"),
        (
            "/functions/hello/aliases/canary",
            "shares",
            json!([share(1, 50), share(1, 50)]),
            invalid,
            "shares[1].version",
        ),
        (
            "/functions/hello/aliases/canary",
            "shares",
            json!([share(9, 100)]),
            Code::VersionNotFound,
            "shares[0].version",
        ),
        ("/functions/hello/aliases/canary", "shares", json!([share(2, 100)]), Code::NotReady, "shares[0].version"),
        ("/functions/hello/rollback", "to", json!(9), Code::VersionNotFound, "to"),
        ("/jobs", "function", json!("none"), Code::FunctionNotFound, "function"),
        ("/jobs", "function", json!("hello@--"), invalid, "function"),
        ("/jobs", "function", json!("hello@v9"), Code::VersionNotFound, "function"),
        ("/jobs", "reference", json!("v9"), Code::VersionNotFound, "reference"),
        ("/jobs", "method", json!("TRACE"), invalid, "method"),
        ("/jobs", "path", json!("/ "), invalid, "path"),
        ("/jobs", "headers", json!([["a", "b"], ["c d", ""]]), invalid, "headers[1][0]"),
        ("/jobs", "headers", json!([["a", "\n"]]), invalid, "headers[0][1]"),
        ("/jobs", "input", json!({"base64": "?"}), invalid, "input.base64"),
        ("/jobs", "input", json!({"upload": nothing}), Code::ArtifactNotFound, "input.upload"),
        ("/jobs", "cpus", json!(65), invalid, "cpus"),
        ("/jobs", "memory", json!("much"), invalid, "memory"),
        ("/jobs", "timeout", json!("9d"), invalid, "timeout"),
        ("/jobs", "retries", json!(-1), invalid, "retries"),
        ("/jobs", "backoff", json!(0), invalid, "backoff"),
        ("/jobs", "priority", json!(11), invalid, "priority"),
        ("/jobs", "not_before", json!("2001-01-01T00:00:00Z"), invalid, "not_before"),
        ("/jobs", "labels", json!({"": "x"}), invalid, "labels"),
        ("/jobs", "webhook", json!("http://10.0.0.1/"), invalid, "webhook"),
        ("/jobs/arrays", "job", json!({"function": "none"}), Code::FunctionNotFound, "job.function"),
        ("/jobs/arrays", "job", json!({"function": "hello", "cpus": 65}), invalid, "job.cpus"),
        ("/jobs/arrays", "job", json!({"function": "hello", "input": {"text": ""}}), invalid, "job.input"),
        ("/jobs/arrays", "inputs", json!([]), invalid, "inputs"),
        ("/jobs/arrays", "inputs", json!([{"text": ""}, {"base64": "?"}]), invalid, "inputs[1].base64"),
        ("/triggers/each", "cron", json!("often"), invalid, "cron"),
        ("/triggers/each", "zone", json!("Mars"), invalid, "zone"),
        ("/triggers/each", "queue", json!("orders"), invalid, "cron"),
        ("/triggers/each", "job", json!({"function": "hello", "retries": 99}), invalid, "job.retries"),
        ("/triggers/each", "job", json!({"function": "none"}), Code::FunctionNotFound, "job.function"),
        ("/triggers/each", "job", json!({"function": "hello", "webhook": "x"}), invalid, "job.webhook"),
        ("/queues/orders", "lease", json!("25h"), invalid, "lease"),
        ("/queues/orders", "deliveries", json!(0), invalid, "deliveries"),
        ("/queues/orders", "days", json!(365), invalid, "days"),
        ("/queues/orders/messages", "messages", json!([]), invalid, "messages"),
        ("/queues/orders/messages", "messages", json!([{"body": {"base64": "?"}}]), invalid, "messages[0].body.base64"),
        (
            "/queues/orders/messages",
            "messages",
            json!([{"body": {"text": ""}}, {"body": {"text": ""}, "delay": "-1s"}]),
            invalid,
            "messages[1].delay",
        ),
        ("/queues/orders/lease", "count", json!(0), invalid, "count"),
        ("/queues/orders/lease", "wait", json!("1h"), invalid, "wait"),
        ("/queues/orders/ack", "messages", json!([]), invalid, "messages"),
        ("/queues/orders/release", "delay", json!("9d"), invalid, "delay"),
    ] {
        let (method, _, body) = of(path);
        let mut body = body.clone();
        body[member] = value;
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = ada.send(method, &format!("/api/v1{path}"), Some(body.clone())).await;
        let problem = problem(&answer);
        assert_eq!((problem.code, self::field(&problem)), (code, field), "{path} {body}: {problem:?}");
    }
}

/// Parameters and headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_parameter_and_header_is_named() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    for (path, field) in [
        ("/functions?limit=many", "limit"),
        ("/functions?limit=-1", "limit"),
        ("/functions?cursor=!", "cursor"),
        ("/jobs?limit=1&limit=2", "limit"),
        ("/jobs?label=x", "label"),
        ("/jobs?state=lost", "state"),
        ("/jobs?state=dead,lost", "state"),
        ("/jobs?array=x", "array"),
        ("/jobs?sort=name", "sort"),
        // A place in another order.
        ("/jobs?sort=ended&cursor=am9iXzE", "cursor"),
        ("/jobs?ended_from=yesterday", "ended_from"),
        ("/jobs/summary?from=yesterday", "from"),
        ("/jobs/summary?from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "to"),
        ("/invocations?outcome=odd", "outcome"),
        ("/invocations?limit=%ff", "limit"),
        ("/functions/hello/logs?since=yesterday", "since"),
        ("/functions/hello/logs?follow=maybe", "follow"),
        ("/usage?by=colour", "by"),
        ("/usage?from=yesterday", "from"),
        ("/usage?to=2026-02-30", "to"),
        ("/usage?from=2026-11-02&to=2026-11-01", "from"),
        ("/usage?format=xml", "format"),
        ("/usage?cursor=bm90aGluZw", "cursor"),
        ("/audit?actor=nobody", "actor"),
        ("/audit?from=yesterday", "from"),
        ("/audit?cursor=bm90aGluZw", "cursor"),
    ] {
        let problem = problem(&ada.get(path).await);
        assert_eq!((problem.code, self::field(&problem)), (Code::InvalidRequest, field), "{path}: {problem:?}");
    }
    let said = |answer: Answer| {
        let problem = problem(&answer);
        (problem.code, problem.field.map(|field| field.as_str().to_owned()).unwrap_or_default())
    };
    let named = |code, field: &str| (code, field.to_owned());
    assert_eq!(said(ada.get("/jobs?function=none").await), named(Code::FunctionNotFound, "function"));
    assert_eq!(said(ada.put("/queues/-", json!({})).await), named(Code::InvalidName, "name"));
    let shares = json!({"shares": []});
    assert_eq!(said(ada.put("/functions/hello/aliases/v7", shares).await), named(Code::InvalidName, "alias"));
    assert_eq!(said(ada.delete("/functions/hello/aliases/live").await), named(Code::InvalidField, "alias"));
    let stale = ada.with("if-match", "\"0\"").delete("/functions/hello").await;
    assert_eq!(said(stale), named(Code::PreconditionFailed, "If-Match"));
    let keyed = ada.with("idempotency-key", &"k".repeat(201)).post("/functions", json!({"name": "two"})).await;
    assert_eq!(said(keyed), named(Code::InvalidRequest, "Idempotency-Key"));
    let form = ada.with("content-type", "text/plain").post("/functions", json!({})).await;
    assert_eq!(said(form), named(Code::InvalidRequest, "Content-Type"));
    let elsewhere = ada.with("x-crowdcloud-account", "other").get("/functions").await;
    assert_eq!(said(elsewhere), named(Code::NotFound, "x-crowdcloud-account"));
    ada.post("/accounts", json!({"name": "second", "kind": "company"})).await;
    assert_eq!(said(ada.get("/functions").await), named(Code::MissingAccount, "x-crowdcloud-account"));
}
