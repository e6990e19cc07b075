//! Guests whose calls of the host are long, beside a tenant whose runs are short.

use std::time::{Duration, Instant};

use protocol::Code;
use protocol::receipt::Outcome;
use wasm_host::{COMPONENT_RANDOM_BYTES_MAX, Verdict};

use super::{guest, problem};
use crate::testing::{Bench, MachineLateness, wat_guest};

/// What `hog.wat` does for ever, by its letter.
const HOGS: [(&str, &str); 7] = [
    ("r", "60 MB of random"),
    ("f", "100 MB filled"),
    ("w", "a write of 4 MB"),
    ("v", "a write of 500,000 pieces"),
    ("p", "a poll of 2,000 clocks"),
    ("e", "the environment"),
    ("c", "the clock"),
];

/// The 99th percentile of a short function's calls, one after the other for so long.
async fn p99(short: &Bench, lasts: Duration) -> Duration {
    let mut waits = Vec::new();
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        let began = Instant::now();
        short.get("/count").await.text().await;
        waits.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    waits.sort();
    waits[waits.len() * 99 / 100]
}

/// The same while eight runs of something else last.
async fn p99_beside(others: &Bench, send: impl AsyncFn(&Bench) -> crate::testing::Answered, short: &Bench) -> Duration {
    let hogs = futures::future::join_all((0..8).map(|_| async {
        let (.., ended) = send(others).await.read().await;
        assert_eq!(ended.verdict.outcome, Outcome::TimedOut, "{:?}", ended.verdict);
    }));
    tokio::join!(p99(short, others.limits.timeout.duration()), hogs).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a05_long_host_calls_of_eight_guests_do_not_hold_up_others() {
    let short = guest();
    short.get("/count").await.text().await;
    for (letter, what) in HOGS {
        let hog = short.beside(&wat_guest("hog")).with_timeout(400);
        // What else the machine does now, it does to both.
        let usual = p99(&short, Duration::from_millis(200)).await;
        let lateness = MachineLateness::measure();
        let p99 = p99_beside(&hog, async |hog| hog.post("/", letter).await, &short).await;
        let allowed = Duration::from_millis(100) + 2 * usual + lateness.worst();
        assert!(p99 <= allowed, "{what}: p99 {p99:?}, allowed {allowed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a05_a_long_host_call_ends_at_the_deadline() {
    for (letter, what) in HOGS {
        let lateness = MachineLateness::measure();
        let hog = Bench::new(&wat_guest("hog")).with_timeout(200);
        let (problem, ended) = problem(hog.post("/", letter).await).await;
        assert_eq!(problem.code, Code::TimedOut, "{what}");
        let allowed = Duration::from_millis(400) + lateness.worst();
        assert!(ended.after < allowed, "{what}: {:?}, allowed {allowed:?}", ended.after);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a06_an_account_that_computes_beside_sixteen_guests_of_another_one_has_its_half() {
    let sums = r#"(module (memory (export "memory") 1)
        (func (export "_start") (local $left i32)
          (local.set $left (i32.const 100000000))
          (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#;
    let sums = Bench::new(&wat::parse_str(sums).unwrap());
    let took = async || {
        let began = Instant::now();
        sums.get("/").await.text().await;
        began.elapsed()
    };
    let usual = took().await;
    let other = sums.beside(&wat_guest("hog")).with_timeout(3000);
    let hogs = futures::future::join_all((0..16).map(|_| async { drop(other.post("/", "c").await.read().await) }));
    let lateness = MachineLateness::measure();
    // The first turns of all are on the agent's own thread, which the test is, too: the best of some.
    let begun = async {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            best = best.min(took().await);
        }
        best
    };
    let (beside, _) = tokio::join!(begun, hogs);
    // By turns of the guests alone it would be eight times as long; beside whatever else the machine does, more.
    let allowed = 6 * usual + lateness.worst();
    assert!(beside <= allowed, "{beside:?}, usually {usual:?}, allowed {allowed:?}");
}

#[tokio::test]
async fn a05_random_bytes_are_given_up_to_a_bound_and_differ() {
    let bench = guest();
    let most = bench.get(&format!("/random?bytes={COMPONENT_RANDOM_BYTES_MAX}&answer=64")).await.text().await;
    let again = bench.get("/random?bytes=1000&answer=64").await.text().await;
    assert!(most.len() == 128 && again.len() == 128 && most != again, "{most} {again}");
    let (problem, _) = problem(bench.get(&format!("/random?bytes={}", COMPONENT_RANDOM_BYTES_MAX + 1)).await).await;
    assert_eq!(problem.code, Code::Trap);
    assert!(problem.detail.contains("random bytes"), "{}", problem.detail);

    // A module's memory is filled in place, however much it is.
    let all = r#"(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1600)
        (func (export "_start")
          (if (call $random (i32.const 0) (i32.const 104857600)) (then unreachable))
          (if (i64.eqz (i64.load (i32.const 104857592))) (then unreachable))))"#;
    let (_, ended) = Bench::new(&wat::parse_str(all).unwrap()).get("/").await.read().await;
    assert_eq!(ended.verdict, Verdict::succeeded());
    let beyond = all.replace("(i32.const 0) (i32.const 104857600)", "(i32.const 64) (i32.const 104857600)");
    let (problem, _) = super::problem(Bench::new(&wat::parse_str(&beyond).unwrap()).get("/").await).await;
    assert_eq!(problem.code, Code::Trap);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a05_what_an_instance_holds_of_the_host_is_bounded() {
    // Each of these takes one resource more, for ever.
    for path in ["/fields", "/pollables"] {
        let (problem, ended) = problem(guest().get(path).await).await;
        assert_eq!(problem.code, Code::Trap, "{path}");
        assert!(ended.after < Duration::from_secs(5), "{path}: {:?}", ended.after);
    }
}
