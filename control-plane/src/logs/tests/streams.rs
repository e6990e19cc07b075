//! A function's lines as a stream, of blocks and of rows.

use std::time::Duration;

use futures::StreamExt as _;
use protocol::node::LogLine;
use protocol::{Millis, RunId};

use super::{Writer, later, lines, send, sweep, texts, with};
use crate::tests::harness::{Ground, suite};

suite!(a_tail_goes_on_into_blocks, followers_miss_nothing_while_rows_go);

async fn a_tail_goes_on_into_blocks(ground: Ground) {
    let ground = with(&ground, |config| config.log_block_lines_max = 50).await;
    let writer = Writer::new(&ground, "ada").await;
    let mut all = Vec::new();
    for _ in 0..6 {
        let (run, other) = (RunId::new(), RunId::new());
        let of_run = lines(run, 0..60);
        all.extend(texts(&of_run));
        let log = writer.log(&ground, 0, run, of_run);
        send(&ground, &[log, writer.log(&ground, 1, other, lines(other, 0..5))]).await;
    }
    for (seconds, rows) in [(0, 390), (1000, 40), (2000, 0)] {
        sweep(&ground, seconds).await;
        sweep(&ground, seconds).await;
        assert_eq!(writer.rows(&ground.app).await, rows, "{seconds}");
        assert_eq!(texts(&writer.function(0, "").await), all[160..], "{seconds}");
        assert_eq!(writer.function(1, "").await.len(), 30);
        assert_eq!(texts(&writer.function(0, "?since=1h").await), all);
        assert_eq!(writer.function(0, &format!("?since={}", later(60))).await, []);
    }
    let run = RunId::new();
    let of_run = lines(run, 0..10);
    all.extend(texts(&of_run));
    send(&ground, &[writer.log(&ground, 0, run, of_run)]).await;
    assert_eq!(texts(&writer.function(0, "").await), all[170..], "some of rows");
}

async fn followers_miss_nothing_while_rows_go(ground: Ground) {
    let ground = with(&ground, |config| {
        config.log_block_lines_max = 4;
        (config.log_block_age_max, config.log_rows_age) = (Millis(0), Millis(0));
    })
    .await;
    let writer = Writer::new(&ground, "ada").await;
    let body = writer.client.stream("/api/v1/functions/hello/logs?since=1h&follow=true").await;
    let mut body = body.into_data_stream();
    let writing = async {
        let mut all = Vec::new();
        for count in 1..40 {
            let run = RunId::new();
            let of_run = lines(run, 0..count % 7 + 1);
            all.extend(texts(&of_run));
            send(&ground, &[writer.log(&ground, 0, run, of_run)]).await;
            sweep(&ground, 1).await;
        }
        all
    };
    let reading = async {
        let mut read = Vec::new();
        let wanted: usize = (1..40).map(|count| count % 7 + 1).sum();
        while read.len() < wanted {
            let piece = tokio::time::timeout(Duration::from_secs(20), body.next()).await.expect("more lines");
            let piece = piece.unwrap().unwrap();
            let lines = piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            read.extend(lines.map(|line| serde_json::from_slice::<LogLine>(line).unwrap().text));
        }
        read
    };
    let (all, read) = tokio::join!(writing, reading);
    assert_eq!(read, all);
    assert_eq!(texts(&writer.function(0, "?since=1h").await), all);
}
