//! What a run used, against measures that do not come from the lane.

use std::time::Duration;

use protocol::ByteSize;

use super::guest;
use crate::testing::Bench;

/// This process's CPU time, all threads.
fn process_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

fn close(recorded: u64, measured: u64, what: &str) {
    let (recorded, measured) = (recorded.cast_signed(), measured.cast_signed());
    assert!((recorded - measured).abs() * 10 <= measured, "{what}: recorded {recorded}, measured {measured}");
}

async fn work(bench: &Bench, rounds: u64) -> (Duration, protocol::receipt::Usage) {
    let before = process_cpu();
    let answered = bench.get(&format!("/work?rounds={rounds}&touch={}&bytes=1000000", 64 << 20)).await;
    let (body, ended) = answered.read().await;
    assert_eq!(body.unwrap().len(), 1_000_000);
    (process_cpu() - before, ended.usage)
}

#[tokio::test]
async fn cpu_memory_and_bytes_are_recorded_within_a_tenth() {
    let bench = guest();
    // How many rounds are 200 ms here.
    let (probe, _) = work(&bench, 20_000).await;
    let rounds = 20_000 * 200_000 / u64::try_from(probe.as_micros()).unwrap().max(1);
    let (cpu, usage) = work(&bench, rounds).await;
    let cpu_us = u64::try_from(cpu.as_micros()).unwrap();
    assert!(cpu_us > 100_000, "the guest works: {cpu:?}");
    close(usage.cpu_us, cpu_us, "CPU");
    // The guest's memory is what it touched and its own megabyte or two.
    close(usage.memory_peak.0, 66 << 20, "memory");
    assert_eq!(usage.bytes_out, ByteSize(1_000_000));
    assert!(usage.wall_us >= usage.cpu_us, "{usage:?}");
}

#[tokio::test]
async fn waiting_costs_no_cpu() {
    let (_, ended) = guest().get("/sleep?ms=300").await.read().await;
    assert!(ended.usage.wall_us >= 300_000 && ended.usage.cpu_us < 50_000, "{:?}", ended.usage);
}
