//! What a run in a VM is recorded with is what it has used, by the guest's own clock and by ours.

use tests::Platform;

use super::{needs_vm_lane, number, program, settled};
use crate::run_path::{plain, send};

/// Burns a second on each of two CPUs, touches 200 MiB, and returns a megabyte that begins with what the guest's kernel
/// says about this process.
const METER: &str = r#"
use std::io::{Read, Write};
use std::time::Instant;

fn main() {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).unwrap();
    if body.is_empty() { return }
    let started = Instant::now();
    let pages = std::hint::black_box(vec![1_u8; 200 << 20]);
    let burn = || while ns("/proc/thread-self/schedstat") < 1_000_000_000 {
        for number in 0..200_000_u64 { std::hint::black_box(number); }
    };
    std::thread::scope(|scope| { scope.spawn(burn); scope.spawn(burn); });
    drop(pages);
    let wall_us = started.elapsed().as_micros();
    let line = format!("{} {wall_us} {}\n", cpu_us(), body.len());
    let mut answer = line.into_bytes();
    answer.resize(1_000_000, b'x');
    std::io::stdout().write_all(&answer).unwrap();
}

fn ns(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// User and system time of all threads, those that have ended too, in hundredths of a second.
fn cpu_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}
"#;

pub(super) fn a_run_is_recorded_within_ten_percent(platform: &Platform) {
    let cleo = platform.user("cleo");
    needs_vm_lane(&cleo);
    program(&cleo, "meter", METER);
    cleo.ok("deploy meter --name meter --memory 256MiB --cpus 2 --timeout 120s");
    assert_eq!(cleo.ok("invoke meter"), "", "warm");
    let url = format!("{}/f/cleo/meter/burn", platform.url);
    let answer = send("POST", &url, Some(&cleo.token()), "", &[b'x'; 10_000]);
    let body = plain(&answer);
    assert_eq!((answer.status, body.len()), (200, 1_000_000), "{}", answer.head);
    let line = String::from_utf8(body.split(|byte| *byte == b'\n').next().unwrap().to_vec()).unwrap();
    let told: Vec<f64> = line.split(' ').map(|figure| figure.parse().unwrap()).collect();
    let &[cpu_us, busy_us, received] = &told[..] else { panic!("{line}") };
    assert!(cpu_us >= 1_900_000.0 && (received - 10_000.0).abs() < 0.5, "{line}");

    let shown = settled(&cleo, "meter", "/burn");
    let near = |what: &str, expected: f64| {
        let found = number(&shown["usage"][what]);
        assert!((found - expected).abs() <= expected * 0.1, "{what} is {found}, not {expected}: {shown}");
    };
    near("cpu_us", cpu_us);
    near("memory_peak", f64::from(200 << 20));
    near("bytes_out", 1_000_000.0);
    near("bytes_in", 10_000.0);
    let (node, gateway) = (number(&shown["usage"]["wall_us"]), number(&shown["wall_us"]));
    let here = answer.took.as_secs_f64() * 1e6;
    assert!(node >= busy_us * 0.9 && gateway <= here * 1.02, "{node}, {gateway} beside {busy_us}, {here}");
    assert!(gateway >= here * 0.7, "{gateway} beside {here}");
}
