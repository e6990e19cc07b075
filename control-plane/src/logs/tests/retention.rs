//! What goes, whose it is, and that it is said.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::api::LogPage;
use protocol::{ByteSize, Code, RunId, Timestamp};

use super::{Writer, later, lines, send, sweep, texts, with};
use crate::config::Config;
use crate::objects::moving;
use crate::tests::harness::{Ground, suite};

suite!(the_oldest_go_of_whoever_has_the_most, what_is_too_old_goes);

async fn the_oldest_go_of_whoever_has_the_most(ground: Ground) {
    let ground = with(&ground, |config| config.log_block_lines_max = 10).await;
    let (quiet, busy, large) =
        (Writer::new(&ground, "ada").await, Writer::new(&ground, "eve").await, Writer::new(&ground, "bob").await);
    let mut written = BTreeMap::new();
    for (writer, runs) in [(&quiet, 1), (&busy, 8), (&large, 20)] {
        let runs: Vec<RunId> = (0..runs).map(|_| RunId::new()).collect();
        for run in &runs {
            send(&ground, &[writer.log(&ground, 0, *run, lines(*run, 0..10))]).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        written.insert(writer.account, runs);
    }
    for _ in 0..3 {
        sweep(&ground, 1000).await;
    }
    let bytes = async |writer: &Writer| writer.row(&ground.app).await.bytes;
    let few = bytes(&quiet).await;
    assert!(few < 4000 && bytes(&large).await > 40_000, "{few}");
    let prune = async |log_bytes_total_max: ByteSize| {
        let config = Config { log_bytes_max: ByteSize(12_000), log_bytes_total_max, ..ground.app.config.clone() };
        crate::logs::retention::prune(&ground.app.db, &config, later(0)).await.unwrap();
        sweep(&ground, 0).await;
        assert_eq!(bytes(&quiet).await, few, "whoever has few loses nothing");
        assert_eq!(quiet.function(0, "?since=1h").await.len(), 10);
    };
    prune(ByteSize::mib(1)).await;
    for writer in [&busy, &large] {
        let bytes = bytes(writer).await;
        assert!(bytes <= 12_000 && bytes > 12_000 - 2 * few, "an account has so much, and not less: {bytes}");
    }
    prune(ByteSize(18_000)).await;
    let total = few + bytes(&busy).await + bytes(&large).await;
    assert!(total <= 18_000 && total > 18_000 - 3 * few, "{total}");
    for writer in [&busy, &large] {
        let runs = &written[&writer.account];
        let kept = writer.function(0, "?since=1h").await;
        let page: LogPage = writer.client.get(&format!("/invocations/{}/logs", runs[runs.len() - 1])).await.read();
        assert_eq!(page.items.len(), 10, "the newest stay");
        let since = page.since.unwrap();
        assert!(kept.iter().all(|line| line.at >= since), "what is there is as old as it says");
        assert_eq!(kept.len() % 10, 0);
        assert!(kept.len() < runs.len() * 10);
        let answer = writer.client.get("/functions/hello/logs").await;
        assert_eq!(answer.header(protocol::headers::LOGS_SINCE), since.to_string());
        assert_eq!(writer.client.get(&format!("/invocations/{}/logs", runs[0])).await.code(), Code::NotFound);
    }
    let page: LogPage = quiet.client.get(&format!("/invocations/{}/logs", written[&quiet.account][0])).await.read();
    assert!(page.since.unwrap() <= page.items[0].at, "complete since before its first line");
}

async fn what_is_too_old_goes(ground: Ground) {
    let writer = Writer::new(&ground, "ada").await;
    let (old, new) = (RunId::new(), RunId::new());
    send(&ground, &[writer.log(&ground, 0, old, lines(old, 0..3))]).await;
    sweep(&ground, 1000).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    send(&ground, &[writer.log(&ground, 0, new, lines(new, 0..3))]).await;
    sweep(&ground, 1000).await;
    let days = i64::from(ground.app.config.runs_days) * 86_400_000;
    crate::logs::prune(&ground.app, Timestamp(between.0 + days - 3)).await.unwrap();
    // Its rows were there still.
    assert_eq!(texts(&writer.function(0, "?since=1h").await), texts(&lines(new, 0..3)));
    assert_eq!(writer.blocks(&ground.app).await.len(), 1);
    sweep(&ground, 0).await;
    assert_eq!(writer.rows(&ground.app).await, 3);
    sweep(&ground, 3000).await;
    assert_eq!(writer.rows(&ground.app).await, 0);
    assert_eq!(writer.run(new).await.len(), 3);

    // Of what is forgotten nothing stays in the store.
    let block = writer.blocks(&ground.app).await[0].blob.unwrap().0;
    let kept = moving::left_after_sweeps(&ground.app).await;
    assert!(kept.contains(&block));
    crate::logs::prune(&ground.app, Timestamp(Timestamp::now().0 + days + 1)).await.unwrap();
    let left = moving::left_after_sweeps(&ground.app).await;
    assert_eq!((writer.blocks(&ground.app).await.len(), left.len()), (0, kept.len() - 1));
}
