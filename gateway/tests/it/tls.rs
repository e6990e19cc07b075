//! HTTPS on the public port, and what strangers try with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fabric::{Trust, Trusted};
use protocol::{Digest, Millis};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
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

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

fn params(host: &str, is_authority: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

#[tokio::test]
async fn a_certificate_that_was_named_or_its_authority_is_believed_for_its_hosts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    let authority_key = KeyPair::generate().unwrap();
    let authority = params("an authority", true).self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params("an authority", true), authority_key);
    let mut platform = Platform::start().await;
    for (host, is_authority, is_signed, is_believed) in [
        ("localhost", false, false, true),
        ("localhost", true, false, true),
        ("localhost", false, true, true),
        ("elsewhere", false, false, false),
        ("elsewhere", false, true, false),
    ] {
        let own_key = KeyPair::generate().unwrap();
        let own = params(host, is_authority);
        let own = match is_signed {
            true => own.signed_by(&own_key, &issuer).unwrap(),
            false => own.self_signed(&own_key).unwrap(),
        };
        std::fs::write(&chain, pem("CERTIFICATE", own.der())).unwrap();
        std::fs::write(&key, pem("PRIVATE KEY", &own_key.serialize_der())).unwrap();
        platform.stop_gateway().await;
        let files = (Some(chain.clone()), Some(key.clone()));
        platform.start_gateway(|config| (config.tls_certificate, config.tls_key) = files).await;
        let named = if is_signed { authority.der().clone() } else { own.der().clone() };
        let case = format!("{host}, authority: {is_authority}, signed: {is_signed}");
        for (named, is_believed) in [(&[named][..], is_believed), (&[][..], false)] {
            let trust = Trust::beside(named).unwrap();
            trust.trust(Trusted::Public);
            assert_eq!(get(platform.port, &trust, "/healthz").await.is_ok(), is_believed, "{case}");
            assert_eq!(trust.seen().unwrap().public, is_believed, "{case}");
        }
    }
}

#[tokio::test]
async fn a_named_certificate_vouches_for_others_only_as_an_authority_s_and_for_itself_only_while_it_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    let mut platform = Platform::start().await;
    for (is_signed, is_authority, (from, until), is_believed) in [
        (true, true, (2020, 2120), true),
        (true, false, (2020, 2120), false),
        (false, false, (2020, 2120), true),
        (false, false, (2020, 2021), false),
        (false, false, (2119, 2120), false),
        (false, true, (2020, 2120), true),
        (false, true, (2020, 2021), false),
    ] {
        let case = format!("signed: {is_signed}, authority: {is_authority}, valid: {from} to {until}");
        let (named_key, own_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut named = params("localhost", is_authority);
        (named.not_before, named.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let named_der = named.self_signed(&named_key).unwrap().der().clone();
        let (own_der, own_key) = match is_signed {
            true => {
                let issuer = Issuer::new(named, named_key);
                (params("localhost", false).signed_by(&own_key, &issuer).unwrap().der().clone(), own_key)
            }
            false => (named_der.clone(), named_key),
        };
        std::fs::write(&chain, pem("CERTIFICATE", &own_der)).unwrap();
        std::fs::write(&key, pem("PRIVATE KEY", &own_key.serialize_der())).unwrap();
        platform.stop_gateway().await;
        let files = (Some(chain.clone()), Some(key.clone()));
        platform.start_gateway(|config| (config.tls_certificate, config.tls_key) = files).await;
        let trust = Trust::beside(&[named_der]).unwrap();
        trust.trust(Trusted::Public);
        assert_eq!(get(platform.port, &trust, "/healthz").await.is_ok(), is_believed, "{case}");
        assert_eq!(trust.seen().unwrap().public, is_believed, "{case}");
    }
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
