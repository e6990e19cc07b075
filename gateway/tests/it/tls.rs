//! HTTPS on the public port, and what strangers try with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::{Trust, Trusted};
use protocol::{Digest, Millis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::client::Client;
use crate::platform::Platform;

/// One request by HTTPS; the whole answer.
async fn get(port: u16, trust: &Arc<Trust>, target: &str) -> std::io::Result<String> {
    let connector = TlsConnector::from(Arc::new(trust.client_config().unwrap()));
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn https_is_served_beside_plain_http_of_this_machine_and_the_platform_is_told_of_it() {
    let platform = Platform::start_with(|config| config.tls_self_signed = true).await;
    assert_eq!(platform.get("/healthz").await.status, 200, "without HTTPS");
    platform.get("/api/v1/platform").await;
    let trust = Trust::new().unwrap();
    let answer = get(platform.port, &trust, "/api/v1/platform").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = trust.seen().unwrap();
    assert!(!seen.public, "no authority has signed it");
    let heads = std::mem::take(&mut *platform.control.heads.lock());
    let told = |name: &str| -> Vec<Option<String>> {
        heads.iter().map(|head| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned())).collect()
    };
    assert_eq!(told("x-crowdcloud-certificate"), [None, Some(seen.key.to_string())]);
    assert_eq!(told("x-forwarded-proto"), [Some("http".to_owned()), Some("https".to_owned())]);

    trust.trust(Trusted::Key(seen.key));
    assert!(get(platform.port, &trust, "/healthz").await.unwrap().starts_with("HTTP/1.1 200"));
    trust.trust(Trusted::Key(Digest::of(b"another")));
    assert!(get(platform.port, &trust, "/healthz").await.is_err());
    trust.trust(Trusted::Public);
    assert!(get(platform.port, &trust, "/healthz").await.is_err());
}

#[tokio::test]
async fn a_flood_of_handshakes_leaves_room_for_others() {
    let platform = Platform::start_with(|config| {
        config.tls_self_signed = true;
        config.handshakes_max = 4;
        config.handshake_within = Millis(1500);
    })
    .await;
    let trust = Trust::new().unwrap();
    // Each says that a handshake comes, or nothing at all.
    let mut flood = Vec::new();
    for number in 0..60 {
        let mut client = Client::connect(platform.port).await;
        if number % 3 > 0 {
            client.send([22, 3, 1, 2, 0]).await;
        }
        flood.push(client);
    }
    let begun = Instant::now();
    let answer = loop {
        // All of them are of one client here: it waits for its turn, and may be too late for it.
        match get(platform.port, &trust, "/healthz").await {
            Ok(answer) => break answer,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
    };
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut client in flood {
        assert!(client.closed().await, "whoever does not go on is closed");
    }
    assert_eq!(platform.get("/healthz").await.status, 200);
}
