//! Measures how soon a guest replies, and what a clone costs in memory; writes JSON. All of it in one run, so that the
//! ratios mean something: `cargo run --release --package microvm --example measure [ROUNDS] [CLONES]`.

#![allow(clippy::unwrap_used, reason = "a measurement stops at the first surprise")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use microvm::{Contract, Disk, End, Paused, Pool, PoolConfig, Shape, Template};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::{LONG, command, server};

const SHAPE: Shape = Shape { memory_mib: 256, cpus: 1 };
const OVERLAY_BYTES: u64 = 32 << 20;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (rounds, clones) = (numbers.next().unwrap_or(7), numbers.next().unwrap_or(20));
    let bench = support::bench().await;
    let (host, disk) = (&bench.host, &bench.disk);

    let mut cold = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let output = reply(host.boot(SHAPE, disk).await.unwrap()).await;
        cold.push(start.elapsed());
        assert_eq!(output, b"hello\n");
    }
    let plain = Arc::new(host.template(SHAPE).await.unwrap());
    let warm = ["bin/guest".to_owned()];
    let prepared = Arc::new(host.prepared_template(SHAPE, disk, OVERLAY_BYTES, &warm).await.unwrap());
    let restored_plain = rounds_of(rounds, || restore(&plain, Some(disk))).await;
    let restored = rounds_of(rounds, || restore(&prepared, None)).await;
    let spawned_plain = pooled(rounds, &plain, Some(disk)).await;
    let spawned = pooled(rounds, &prepared, None).await;
    let request_us = warm_request(&prepared, rounds * 50).await;
    let (private, before) = private_memory(&prepared, clones).await;
    let cold_ms = median(cold);
    let report = serde_json::json!({
        "accelerator": host.accelerator().as_str(),
        "turns_per_ms": host.speed().turns_per_ms,
        "memory_mib": SHAPE.memory_mib,
        "cold_ms": cold_ms,
        "restore_plain_ms": median(restored_plain.clone()),
        "restore_prepared_ms": median(restored.clone()),
        "pool_plain_ms": median(spawned_plain.clone()),
        "pool_prepared_ms": median(spawned.clone()),
        "cold_over_restore_plain": cold_ms / median(restored_plain),
        "cold_over_restore": cold_ms / median(restored),
        "cold_over_pool_plain": cold_ms / median(spawned_plain),
        "cold_over_pool": cold_ms / median(spawned),
        "warm_request_us": request_us,
        "clones": clones,
        "clone_private_mib": private,
        "clone_waiting_private_mib": before,
        "private_over_guest_ram": private / f64::from(SHAPE.memory_mib),
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

/// Until the first byte of the answer.
async fn reply(paused: Paused) -> Vec<u8> {
    let mut run = paused.start(command(&["hello"]), LONG).await.unwrap();
    let mut output = vec![0; 64];
    let read = run.stdio.as_mut().unwrap().read(&mut output).await.unwrap();
    output.truncate(read);
    output
}

async fn restore(template: &Template, disk: Option<&Disk>) -> Duration {
    let start = Instant::now();
    let output = reply(template.restore(disk).await.unwrap()).await;
    assert_eq!(output, b"hello\n");
    start.elapsed()
}

async fn rounds_of<F: Future<Output = Duration>>(rounds: usize, measure: impl Fn() -> F) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(measure().await);
    }
    times
}

async fn pooled(rounds: usize, template: &Arc<Template>, disk: Option<&Disk>) -> Vec<Duration> {
    let config = PoolConfig { ready: 1, memory_bytes: 1 << 30 };
    let pool = Pool::new(Arc::clone(template), disk.cloned(), Contract::Command, OVERLAY_BYTES, config);
    let mut times = Vec::new();
    for _ in 0..rounds {
        pool.fill().await.unwrap();
        let start = Instant::now();
        let output = reply(pool.take().await.unwrap()).await;
        times.push(start.elapsed());
        assert_eq!(output, b"hello\n");
    }
    times
}

/// One small request after the other on one connection to a server that is warm.
async fn warm_request(template: &Template, rounds: usize) -> f64 {
    let mut run = template.restore(None).await.unwrap().start(server(&["serve"], LONG), LONG).await.unwrap();
    let mut stream = run.connect().await.unwrap();
    let expected = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhello 1\n";
    let mut answer = vec![0; expected.len()];
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: guest\r\n\r\n").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        times.push(start.elapsed());
        assert_eq!(answer, expected);
    }
    median(times) * 1000.0
}

/// Of clones that all live at one time and have answered; and of one that waits.
async fn private_memory(template: &Template, clones: usize) -> (f64, f64) {
    let mut runs = Vec::new();
    let mut waiting = 0;
    for _ in 0..clones {
        let paused = template.restore(None).await.unwrap();
        waiting += paused.private_memory().unwrap();
        let mut run = paused.start(command(&["linger"]), LONG).await.unwrap();
        let mut output = vec![0; 64];
        let read = run.stdio.as_mut().unwrap().read(&mut output).await.unwrap();
        assert!(read > 0);
        runs.push(run);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let total: u64 = runs.iter().map(|run| run.private_memory().unwrap()).sum();
    for mut run in runs {
        run.stop().await;
        assert_eq!(run.ended().await.end, End::Stopped);
    }
    let each = |total: u64| {
        f64::from(u32::try_from(total / 1024).unwrap()) / 1024.0 / f64::from(u32::try_from(clones).unwrap())
    };
    (each(total), each(waiting))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
