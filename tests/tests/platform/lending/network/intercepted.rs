//! A host whose one way out is a proxy, and a proxy that reads along.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fabric::Trust;
use tests::wait_until;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Ground, Machine, PORT, PUBLIC, at};

/// Its address towards the office.
const LAN: Ipv4Addr = at(78, 0, 1);

pub(super) fn behind_a_proxy_there_is_one_way_and_nobody_reads_along(ground: &Ground) {
    assert!(!ground.office.reaches(Ground::public()));
    let proxy = ground.proxy_host.within(intercepting);
    let token = ground.token("office-4");
    let start = |flags: &[&str]| {
        let mut command = ground.lend("office-4", &[&["--token", token.as_str()][..], flags].concat());
        command.env("HTTPS_PROXY", &proxy);
        Machine::start(&ground.office, "office-4", command)
    };
    let mut machine = start(&[]);
    let status = machine.ends(Duration::from_secs(10));
    assert_eq!(status.code(), Some(3), "{}", machine.said());
    wait_until("it says why", Duration::from_secs(2), || machine.said().contains("foreign_certificate"));
    assert!(super::node(&ground.ada, "office-4").is_none(), "the token was not sent");
    // Whose owner agrees goes on.
    let machine = start(&["--behind-proxy"]);
    ground.wait_online(&machine);
    ground.works(&machine);
    machine.stop();
}

/// A proxy with a certificate of its own, which goes with its process.
fn intercepting() -> String {
    let listener = std::net::TcpListener::bind((LAN, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let made = rcgen::generate_simple_self_signed(vec![PUBLIC.to_string()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let own = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(own));
    let connector = TlsConnector::from(Arc::new(Trust::new().unwrap().client_config().unwrap()));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, connector) = (acceptor.clone(), connector.clone());
                // Clients that see who answers go away.
                tokio::spawn(async move { drop(between(client, &acceptor, &connector).await) });
            }
        });
    });
    url
}

async fn between(client: TcpStream, acceptor: &TlsAcceptor, connector: &TlsConnector) -> std::io::Result<()> {
    let (mut client, mut line) = (BufReader::new(client), String::new());
    // Up to the blank line after the head.
    while client.read_line(&mut line).await? > "\r\n".len() {
        line.clear();
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut near = acceptor.accept(client).await?;
    let far = TcpStream::connect((PUBLIC, PORT)).await?;
    let name = ServerName::try_from(PUBLIC.to_string()).map_err(std::io::Error::other)?;
    let mut far = connector.connect(name, far).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}
