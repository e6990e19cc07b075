//! A machine elsewhere: it reaches the platform only through a proxy that opens tunnels to one port, and by HTTPS. It
//! works, is revoked, and is cut off at once; and it takes no other platform for its own.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::{Cli, DoneExt as _, EMBEDDED, Platform, Proxy, wait_until};

use super::joining::{lend, node};
use crate::run_path::get;

/// The platform's name; nobody can look it up, the proxy apart.
const HOST: &str = "cloud.test";

fn port_of(platform: &Platform) -> u16 {
    platform.address().rsplit(':').next().unwrap().parse().unwrap()
}

/// A token, made where machines elsewhere find the platform.
fn token(ada: &Cli, port: u16, name: &str) -> serde_json::Value {
    let (key, at) = (ada.token(), format!("https://{HOST}:{port}/api/v1/nodes/tokens"));
    let made = ada.shell(&format!(
        "curl --silent --fail --insecure --noproxy '*' --resolve {HOST}:{port}:127.0.0.1 -H 'authorization: Bearer {key}' \
         -H 'content-type: application/json' -d '{{\"name\": \"{name}\"}}' {at}"
    ));
    serde_json::from_str(&made.ok()).unwrap()
}

/// What it says, once it has ended.
fn said(mut machine: Child) -> (Option<i32>, String) {
    wait_until("it has ended", Duration::from_secs(20), || machine.try_wait().unwrap().is_some());
    let mut text = String::new();
    machine.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (machine.wait().unwrap().code(), text)
}

/// `crowdcloud lend` through this proxy.
fn through(proxy: &Proxy, mut command: Command) -> Child {
    for name in ["NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    command.env("HTTPS_PROXY", &proxy.url).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_machine_behind_a_proxy_joins_by_https_works_and_is_cut_off_when_it_is_revoked() {
    let platform = Platform::start_with(&[EMBEDDED[0], EMBEDDED[1], "--tls-self-signed", "--host", HOST]);
    let port = port_of(&platform);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s");
    let proxy = Proxy::start("127.0.0.1:0", &format!("{HOST}:{port}"), platform.address());
    let made = token(&ada, port, "attic");
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--token", made["token"].as_str().unwrap(), "--no-vm"];
    let machine = through(&proxy, lend(folder.path(), &flags));
    wait_until("it is online", Duration::from_secs(60), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "online")
    });
    assert!(proxy.opened() > 0, "there is no other way");

    // The platform's own node takes nothing.
    ada.ok(&format!("lend pause --data {}", platform.data().display()));
    let id = made["node"].as_str().unwrap();
    let (key, url) = (ada.token(), format!("{}/f/ada/probe/burn?ms=1&mib=1&n=1", platform.url));
    for _ in 0..20 {
        let answer = get(&url, Some(&key));
        assert_eq!((answer.status, answer.header("x-crowdcloud-node")), (200, Some(id)), "{}", answer.head);
    }

    let before = proxy.closed();
    ada.ok(&format!("nodes revoke {id} --yes"));
    wait_until("its connection is cut", Duration::from_secs(1), || proxy.closed() > before);
    assert_ne!(get(&url, Some(&key)).status, 200);
    let (status, text) = said(machine);
    assert!(status != Some(0) && text.contains("node_left"), "{text}");
    let (status, text) = said(through(&proxy, lend(folder.path(), &["--no-vm"])));
    assert!(status != Some(0) && text.contains("node_left"), "{text}");
}

#[test]
fn another_platform_behind_the_same_name_is_not_believed() {
    let platform = Platform::start_with(&[EMBEDDED[0], EMBEDDED[1], "--tls-self-signed", "--host", HOST]);
    let port = port_of(&platform);
    let ada = platform.user("ada");
    let made = token(&ada, port, "attic");
    let other = Platform::start_with(&[EMBEDDED[0], EMBEDDED[1], "--tls-self-signed", "--host", HOST]);
    let proxy = Proxy::start("127.0.0.1:0", &format!("{HOST}:{port}"), other.address());
    let folder = tempfile::tempdir().unwrap();
    let token = made["token"].as_str().unwrap();
    for flags in [&["--token", token, "--no-vm"][..], &["--token", token, "--no-vm", "--behind-proxy"]] {
        let (status, text) = said(through(&proxy, lend(folder.path(), flags)));
        assert_eq!(status, Some(3), "{text}");
        assert!(text.contains("platform_key"), "{text}");
    }
    assert!(node(&ada, "attic").is_none());
}

#[test]
fn a_platform_s_own_certificate_is_believed_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem =
        |kind: &str, der: &[u8]| format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der));
    std::fs::write(&chain, pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    let flags = ["--tls-certificate", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let platform = Platform::start_with(&flags);
    let mut ada = platform.user("ada");
    let token = ada.token();
    ada.move_to(&format!("https://localhost:{}", port_of(&platform)));
    let log_in = |flags: &str| ada.shell_with(&format!("crowdcloud login --key-stdin {flags}"), token.as_bytes());
    let refused = log_in("");
    assert!(refused.status == 7 && refused.stderr.contains("--ca-file PEM"), "{refused:?}");
    let wrong = log_in("--ca-file /dev/null");
    assert!(wrong.status == 2 && wrong.stderr.contains("there is no certificate in it"), "{wrong:?}");
    log_in(&format!("--ca-file {}", chain.display())).ok();
    assert!(ada.ok("whoami").contains("ada"), "it is kept");
}
