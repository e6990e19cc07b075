//! Every kind of bad input has its own answer, and none of them is a 500.

use std::time::Duration;

use tests::{Cli, Platform, http, run_steps, steps};

use crate::run_path::{get, plain, send};

/// `\0asm`, version 1: a core module in bytes.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// `\0asm`, layer 1: a component in bytes.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn deploy_bytes(cli: &Cli, bytes: &[u8], code: &str) -> String {
    std::fs::write(cli.work().join("bad.wasm"), bytes).unwrap();
    cli.fails("deploy bad.wasm --name bad --lane wasm", 2, code)
}

/// A WASI command that imports this function.
fn importing(module: &str, name: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let section = |id: u8, body: Vec<u8>| [&[id, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    [
        MODULE.to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(2, [vec![1], text(module), text(name), vec![0, 0]].concat()),
        section(3, vec![1, 0]),
        section(5, vec![1, 0, 1]),
        section(7, [vec![2], text("memory"), vec![2, 0], text("_start"), vec![0, 1]].concat()),
        section(10, vec![1, 2, 0, 0x0b]),
    ]
    .concat()
}

#[test]
fn what_is_wrong_is_told() {
    let platform = Platform::start();
    let steps = steps![
        what_cannot_run_is_refused_with_its_reason,
        what_a_run_does_wrong_is_told,
        what_http_says_wrong_is_told,
    ];
    run_steps(&platform, &steps);
}

fn what_cannot_run_is_refused_with_its_reason(platform: &Platform) {
    let ada = platform.user("ada");
    deploy_bytes(&ada, b"#!/bin/sh\necho hello\n", "not_wasm");
    deploy_bytes(&ada, b"", "not_wasm");
    deploy_bytes(&ada, &[MODULE, b"\x01\x7f\x00broken"].concat(), "invalid_wasm");
    deploy_bytes(&ada, MODULE, "no_entry_point");
    let said = deploy_bytes(&ada, &importing("env", "launch_missiles"), "unknown_import");
    assert!(said.contains("env") && said.contains("launch_missiles"), "{said}");
    deploy_bytes(&ada, COMPONENT, "no_entry_point");
    // A component that exports the empty instance `a:b/c`.
    let other = [COMPONENT, b"\x05\x03\x01\x01\x00", b"\x0b\x0b\x01\x00\x05a:b/c\x05\x00\x00"].concat();
    let said = deploy_bytes(&ada, &other, "wrong_world");
    assert!(said.contains("a:b/c"), "{said}");
    // The failed versions are kept and say why; `live` has not moved.
    let versions = ada.json("versions bad");
    let failed = versions["items"].as_array().unwrap();
    assert!(failed.len() >= 5 && failed.iter().all(|version| version["state"] == "failed"), "{versions}");
    assert_eq!(ada.run("invoke bad").status, 4);
}

fn what_a_run_does_wrong_is_told(platform: &Platform) {
    let bea = platform.user("bea");
    bea.deploy("probe", "--timeout 2s --memory 64MiB --body 1MiB");
    let key = bea.token();
    let base = format!("{}/f/bea/probe", platform.url);
    let expected = [
        ("/loop", 504, "timed_out"),
        ("/alloc?mib=200", 502, "out_of_memory"),
        ("/recurse", 502, "stack_overflow"),
        ("/trap", 502, "trap"),
        ("/no-response", 502, "no_response"),
    ];
    for (path, status, code) in expected {
        let answer = get(&format!("{base}{path}"), Some(&key));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let problem: serde_json::Value = serde_json::from_slice(&plain(&answer)).unwrap();
        assert_eq!(problem["code"], code, "{path}: {problem}");
        let told = answer.header("proxy-status").unwrap_or_default();
        assert!(told.starts_with("crowdcloud") && told.contains(&format!("details=\"{code}\"")), "{path}: {told}");
        let run =
            problem["instance"].as_str().map(str::to_owned).or(answer.header("x-crowdcloud-run").map(str::to_owned));
        assert!(run.is_some(), "{path}: {problem}");
    }
    // The platform is as well as before.
    assert_eq!(get(&base, Some(&key)).status, 200);
    // A trap after the head: the answer breaks off, and the command says so.
    let cut = bea.run("invoke probe '/late-trap?bytes=200000'");
    assert_eq!(cut.status, 1, "{}", cut.stderr);
    // The command's exit statuses.
    assert_eq!(bea.run("invoke probe /trap").status, 1);
    assert_eq!(bea.run("invoke probe /loop").status, 8);
    std::fs::write(bea.work().join("big"), vec![0; 2 * 1024 * 1024]).unwrap();
    // Said while the caller still sends; closing then must not lose the answer.
    for _ in 0..20 {
        let refused = bea.run("invoke probe /count -d @big");
        assert_eq!(refused.status, 6, "{}", refused.stderr);
    }
    assert_eq!(bea.run("invoke nothing").status, 4);
}

fn what_http_says_wrong_is_told(platform: &Platform) {
    let cleo = platform.user("cleo");
    cleo.deploy("probe", "--timeout 2s");
    let key = cleo.token();
    let base = format!("{}/f/cleo/probe", platform.url);
    let upgrade = send("GET", &base, Some(&key), "upgrade: websocket\r\n", b"");
    assert_eq!(upgrade.status, 501, "{upgrade:?}");
    let long = format!("x-long: {}\r\n", "x".repeat(70_000));
    assert_eq!(send("GET", &base, Some(&key), &long, b"").status, 431);
    for path in
        ["/f/", "/f/cleo", "/f/cleo/", "/f/cleo/nothing", "/f/nobody/probe", "/f/%00/x", "/f/cleo/probe@", "/api/v1/x"]
    {
        let answer = get(&format!("{}{path}", platform.url), Some(&key));
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
    for (method, path, body) in [
        ("POST", "/functions", "{"),
        ("POST", "/functions", "{\"name\": 5}"),
        ("POST", "/functions", "{\"name\": \"ok-name\", \"unknown\": 1}"),
        ("POST", "/functions/probe/versions", "{\"artifact\": \"zz\"}"),
        ("PUT", "/functions/probe/aliases/live", "{\"shares\": [{\"version\": 99, \"weight\": 100}]}"),
        ("GET", "/functions?limit=-1", ""),
        ("GET", "/functions?cursor=%ff", ""),
        ("GET", "/invocations/nonsense", ""),
        ("TRACE", "/functions", ""),
    ] {
        let url = format!("{}/api/v1{path}", platform.url);
        let answer = send(method, &url, Some(&key), "content-type: application/json\r\n", body.as_bytes());
        assert!((400..500).contains(&answer.status), "{method} {path} {body}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}: {answer:?}");
        let told = answer.header("proxy-status").unwrap_or_default();
        assert!(protocol::proxy_status::is_ours(told), "{method} {path}: {answer:?}");
    }
    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let answer = http(platform.address(), garbage);
        assert!(answer.status == 0 || (400..506).contains(&answer.status), "{answer:?}");
    }
    assert!(get(&base, Some(&key)).took < Duration::from_secs(2));
}

#[test]
fn a_platform_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start_in(folder.path(), &[]);
    let nobody = platform.cli();
    let data = folder.path().display();

    let said = nobody.fails(&format!("up --data {data} --listen 127.0.0.1:0"), 5, "data_in_use");
    assert!(said.contains(&platform.pid().to_string()) && said.contains("--data"), "{said}");
    let said = nobody.fails(&format!("up --data other --listen {}", platform.address()), 5, "port");
    assert!(said.contains("--listen"), "{said}");
    let taken = format!("up --data other --listen 127.0.0.1:0 --nats-listen {}", platform.address());
    nobody.fails(&taken, 7, "nats_port");
    let missing = nobody.shell("CROWDCLOUD_NATS_SERVER=/nothing crowdcloud up --data other --listen 127.0.0.1:0");
    assert_eq!(missing.status, 7, "{missing:?}");
    assert!(missing.stderr.contains("error[nats_missing]") && missing.stderr.contains("help:"), "{missing:?}");
    std::fs::create_dir(nobody.work().join("newer")).unwrap();
    std::fs::write(nobody.work().join("newer/format"), "99\n").unwrap();
    let said = nobody.fails("up --data newer --listen 127.0.0.1:0", 5, "data_version");
    assert!(said.contains("newer"), "{said}");
    let said = nobody.shell("mkdir odd && echo 'colour = 1' > odd/config.toml && crowdcloud up --data odd");
    assert_eq!(said.status, 2, "{said:?}");
}
