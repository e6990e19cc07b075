//! The program, for machines that do not have it.

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::client::Client;
use crate::platform::Platform;

#[tokio::test]
async fn the_script_names_the_digest_of_the_program_that_comes() {
    let platform = Platform::start().await;
    let script = platform.get("/install.sh").await;
    assert_eq!((script.status, script.header("cache-control")), (200, "no-store"));
    let script = String::from_utf8(script.body).unwrap();
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("\norigin='http://"), "{script}");
    let program = platform.get("/install/crowdcloud").await;
    assert!(program.status == 200 && !program.broken);
    // The gateway runs within this test.
    let own = std::fs::metadata(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(u64::try_from(program.body.len()).unwrap(), own.len());
    let digest: String = Sha256::digest(&program.body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(script.contains(&format!("\ndigest='{digest}'\n")), "{digest}: {script}");
    assert_eq!(platform.fetch("POST", "/install.sh", &[], b"").await.status, 405);
}

#[tokio::test]
async fn who_does_not_read_the_program_keeps_no_others_from_it() {
    let platform = Platform::start().await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(platform.port).await;
        client.send(b"GET /install/crowdcloud HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        idle.push(client);
    }
    // All clients here are one, which has two downloads at most.
    let begun = Instant::now();
    while platform.get("/install/crowdcloud").await.status != 429 {
        assert!(begun.elapsed() < Duration::from_secs(30), "as many as one likes");
    }
    drop(idle);
    while platform.get("/install/crowdcloud").await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "its room is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
