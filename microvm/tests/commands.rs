//! Commands in real guests.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use microvm::End;

use support::{SHAPE, bench, command, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_hello() {
    let bench = bench().await;
    let template = bench.host.template(SHAPE).await.unwrap();
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let (output, log, ended) = run(paused, command(&["hello"])).await;
    assert_eq!((output.as_str(), log.as_str(), &ended.end), ("hello\n", "", &End::Exited(0)));
    assert!(ended.usage.unwrap().memory_peak_bytes > 0);
}
