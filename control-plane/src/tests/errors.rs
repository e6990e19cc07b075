//! Each code that the control plane itself answers, produced by a request; and no 500 for bad input.

use std::collections::BTreeSet;

use http::Method;
use protocol::Code;
use protocol::api::Me;
use serde_json::json;

use super::harness::{Ground, suite, version_of};

suite!(every_code, the_document);

/// What it answers, beside the verdicts of nodes (`tests::platform`) and of requests in parallel
/// (`tests::idempotency`).
const CODES: [Code; 24] = [
    Code::InvalidRequest,
    Code::InvalidField,
    Code::InvalidName,
    Code::MissingAccount,
    Code::PreconditionFailed,
    Code::IdempotencyMismatch,
    Code::BodyTooLarge,
    Code::MethodNotAllowed,
    Code::Unauthenticated,
    Code::InvalidKey,
    Code::InvalidLogin,
    Code::Forbidden,
    Code::CrossSite,
    Code::NotFound,
    Code::FunctionNotFound,
    Code::VersionNotFound,
    Code::InvitationInvalid,
    Code::NameTaken,
    Code::EmailTaken,
    Code::LastOwner,
    Code::NotReady,
    Code::ArtifactNotFound,
    Code::ArtifactTooLarge,
    Code::LimitReached,
];

async fn every_code(ground: Ground) {
    let ground = Ground::on(ground.app.config.database.clone(), |config| {
        config.functions_max = 3;
        config.artifact_max = protocol::ByteSize(10);
    })
    .await;
    let (nobody, ada) = (ground.anonymous(), ground.user("ada@example.org", "ada").await);
    let key = ada.key(&["invoke"]).await;
    let me = ada.get("/me").await.read::<Me>().user.unwrap().id;
    ground.user("two@example.org", "two").await;
    let two = nobody.post("/sessions", json!({"email": "two@example.org", "password": "correct horse"})).await.cookie();
    let two = nobody.with("cookie", &two);
    two.post("/accounts", json!({"name": "two-inc", "kind": "company"})).await;
    for name in ["hello", "aa", "bb"] {
        ada.post("/functions", json!({"name": name})).await;
    }
    let small = ground.artifact(&ada, b"small").await;
    let large = ground.artifact(&ada, b"more than ten bytes").await;
    ada.post("/functions/hello/versions", version_of(small)).await;
    let shares = json!({"shares": [{"version": 1, "weight": 100}]});
    let keyed = ada.with("idempotency-key", "k");
    keyed.post("/invitations", json!({"role": "member"})).await;
    let signup = json!({"email": "ada@example.org", "password": "correct horse", "account": "other"});
    let answers = [
        ada.raw(Method::POST, "/api/v1/functions", b"{".to_vec()).await,
        ada.with("content-type", "text/plain").post("/functions", json!({})).await,
        ada.raw(Method::POST, "/api/v1/functions", vec![b'['; 100_000]).await,
        ada.raw(Method::POST, "/api/v1/functions", b"\xff\xfe".to_vec()).await,
        ada.raw(Method::GET, "/api/v1/invocations?limit=%ff", Vec::new()).await,
        ada.post("/functions", json!({"name": "cc", "colour": 1})).await,
        ada.post("/functions", json!({})).await,
        ada.post("/functions", json!([])).await,
        ada.post("/functions", json!({"name": "Not A Name"})).await,
        two.get("/functions").await,
        ada.with("if-match", "\"0\"").delete("/functions/hello").await,
        keyed.post("/invitations", json!({"role": "admin"})).await,
        ada.raw(Method::POST, "/api/v1/functions", vec![b' '; 2 << 20]).await,
        ada.raw(Method::POST, "/api/v1/me", Vec::new()).await,
        nobody.get("/me").await,
        nobody.with_key("cck_0_guess").get("/me").await,
        nobody.post("/sessions", json!({"email": "ada@example.org", "password": "wrong"})).await,
        key.get("/functions").await,
        ada.with("sec-fetch-site", "cross-site").delete("/functions/hello").await,
        ada.get("/nothing").await,
        ada.get("/invocations/run_0").await,
        ada.get("/invocations/%ff").await,
        nobody.raw(Method::GET, "/elsewhere", Vec::new()).await,
        ada.get("/functions/none").await,
        ada.get("/functions/%00").await,
        ada.get("/functions/hello/versions/9").await,
        nobody.get("/invitations/by-token/guess").await,
        ada.post("/functions", json!({"name": "dd"})).await,
        two.post("/accounts", json!({"name": "ada", "kind": "company"})).await,
        nobody.post("/signup", signup).await,
        ada.delete(&format!("/members/{me}")).await,
        ada.put("/functions/hello/aliases/live", shares).await,
        ada.post("/functions/hello/versions", version_of(protocol::Digest([0; 32]))).await,
        ada.post("/functions/hello/versions", version_of(large)).await,
    ];
    let mut seen = BTreeSet::new();
    for answer in &answers {
        assert!(answer.status.is_client_error(), "{answer:?}");
        seen.insert(answer.code().as_str());
    }
    let wanted: BTreeSet<&str> = CODES.iter().map(|code| code.as_str()).collect();
    assert_eq!(seen, wanted);
}

/// The document names every route, and a problem for each.
async fn the_document(ground: Ground) {
    let document: serde_json::Value = ground.anonymous().get("/openapi.json").await.read();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "signup",
        "artifacts",
        "functions/{name}/versions",
        "functions/{name}/test",
        "invocations/{run}/logs",
        "jobs/{id}/output",
    ] {
        assert!(paths.contains_key(&format!("/api/v1/{path}")), "{path}: {:?}", paths.keys());
    }
    assert_eq!(paths.len(), 91);
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert!(problem.is_object(), "{method} {path}");
        }
    }
    assert!(document["components"]["schemas"]["Problem"].is_object());
    assert!(document["components"]["securitySchemes"]["key"].is_object());
}
