//! How a job's changes are told: by streams, and by webhooks.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use protocol::Code;
use protocol::job::{Job, JobState, WebhookKey};
use serde_json::json;

use super::super::webhooks;
use super::{ada, show, submit};
use crate::tests::harness::Ground;

/// The jobs in what has come of a stream.
async fn events(body: &mut axum::body::Body, wanted: usize) -> Vec<Job> {
    let (mut text, mut jobs) = (String::new(), Vec::new());
    while jobs.len() < wanted {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.unwrap();
        let Some(frame) = frame else { break };
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            jobs.extend(event.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()));
        }
    }
    jobs
}

pub(super) async fn watched(ground: Ground) {
    let ada = ada(&ground).await;
    let mut all = ada.stream("/api/v1/jobs/events").await;
    let job = submit(&ada, json!({})).await;
    let other = submit(&ada, json!({})).await;
    let mut one = ada.stream(&format!("/api/v1/jobs/{}/events", job.id)).await;
    assert_eq!(events(&mut one, 1).await[0].state, JobState::Queued);
    ada.post(&format!("/jobs/{}/cancel", job.id), json!({})).await;
    let last = events(&mut one, 9).await;
    assert_eq!(last.iter().map(|job| job.state).collect::<Vec<_>>(), [JobState::Cancelled], "then the stream ends");
    let seen = events(&mut all, 2).await;
    let seen: Vec<_> = seen.iter().map(|job| (job.id, job.state)).collect();
    assert_eq!(seen, [(other.id, JobState::Queued), (job.id, JobState::Cancelled)], "in the order of their changes");
    // Where it broke off, it goes on.
    let mut missed = ada.with("last-event-id", "0").stream("/api/v1/jobs/events").await;
    let missed = events(&mut missed, 2).await;
    assert_eq!(missed.iter().map(|job| job.id).collect::<Vec<_>>(), [other.id, job.id], "each as it is now");
    // Waiting without a stream.
    let waits = ada.get(&format!("/jobs/{}?wait=30s", job.id)).await;
    assert_eq!(waits.read::<Job>().state, JobState::Cancelled);
}

/// Answers each request on the socket with the next status; gives back what came.
async fn receiver(listener: tokio::net::TcpListener, statuses: &[u16]) -> Vec<(HeaderMap, Vec<u8>)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut all = Vec::new();
    for status in statuses {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        let (headers, start, length) = loop {
            let read = socket.read(&mut piece).await.unwrap();
            bytes.extend_from_slice(&piece[..read]);
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let mut headers = HeaderMap::new();
            for line in std::str::from_utf8(&bytes[..end]).unwrap().lines().skip(1) {
                let (name, value) = line.split_once(": ").unwrap();
                headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
            break (headers, end + 4, length);
        };
        while bytes.len() < start + length {
            let read = socket.read(&mut piece).await.unwrap();
            bytes.extend_from_slice(&piece[..read]);
        }
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
        all.push((headers, bytes[start..].to_vec()));
    }
    all
}

pub(super) async fn webhooks_are_signed_and_retried(ground: Ground) {
    let _ = rustls_provider();
    let ground = Ground::on(ground.app.config.database.clone(), |config| {
        config.webhook_private = true;
        config.webhook_backoff = "50ms".parse().unwrap();
    })
    .await;
    let ada = ada(&ground).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/told?x=1", listener.local_addr().unwrap());
    let received = tokio::spawn(async move { receiver(listener, &[500, 204]).await });
    let stop = tokio_util::sync::CancellationToken::new();
    let teller = tokio::spawn(webhooks::run(ground.app.clone(), stop.clone()));
    let job = submit(&ada, json!({"webhook": url})).await;
    ada.post(&format!("/jobs/{}/cancel", job.id), json!({})).await;
    let received = tokio::time::timeout(Duration::from_secs(20), received).await.unwrap().unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let webhook = show(&ada, job.id).await.webhook.unwrap();
        if webhook.delivered.is_some() {
            assert_eq!((webhook.tries, webhook.error), (2, None));
            break;
        }
        assert!(std::time::Instant::now() < until, "{webhook:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let key: WebhookKey = ada.get("/jobs/webhook-key").await.read();
    let key =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key.key.strip_prefix("whsec_").unwrap())
            .unwrap();
    for (headers, body) in &received {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let signed = [format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes(), body].concat();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let signature = text("webhook-signature");
        let signature =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, signature.strip_prefix("v1,").unwrap())
                .unwrap();
        ring::hmac::verify(&key, &signed, &signature).unwrap();
        let told: Job = serde_json::from_slice(body).unwrap();
        assert_eq!((told.id, told.state), (job.id, JobState::Cancelled));
    }
    assert_eq!(received[0].0["webhook-id"], received[1].0["webhook-id"], "again is the same message");
    // A name of this machine, where that is not allowed.
    let strict = Ground::on(ground.app.config.database.clone(), |_| {}).await;
    let refused = ada.on(strict.router).post("/jobs", json!({"function": "hello", "webhook": url})).await;
    assert_eq!(refused.code(), Code::InvalidField);
    stop.cancel();
    teller.await.unwrap();
    assert_eq!(ground.anonymous().send(Method::GET, "/api/v1/jobs/limits", None).await.status, StatusCode::OK);
}

/// As `main` does it.
fn rustls_provider() -> bool {
    rustls::crypto::ring::default_provider().install_default().is_ok()
}
