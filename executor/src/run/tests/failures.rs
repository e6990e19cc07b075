//! Functions that fail: each way has its code, its detail and its place in the log.

use std::time::Duration;

use protocol::receipt::Outcome;
use protocol::{ByteSize, Code};

use super::{guest, problem};
use crate::testing::{Bench, MachineLateness, wat_guest};

#[tokio::test]
async fn a_trap_says_what_it_was_and_is_logged() {
    let (problem, ended) = problem(guest().get("/trap").await).await;
    assert_eq!((problem.code, problem.status), (Code::Trap, 502));
    assert!(problem.detail.contains("unreachable"), "{}", problem.detail);
    assert_eq!(ended.verdict.outcome, Outcome::Failed);
    assert!(ended.log.iter().any(|line| line.contains("trap:")), "{:?}", ended.log);
}

#[tokio::test]
async fn no_response_is_no_response() {
    let (silent, _) = problem(guest().get("/nothing").await).await;
    assert_eq!((silent.code, silent.status), (Code::NoResponse, 502));
    let (error, _) = problem(guest().get("/error").await).await;
    assert_eq!(error.code, Code::NoResponse);
    assert!(error.detail.contains("my fault"), "{}", error.detail);
}

#[tokio::test]
async fn an_informational_status_is_no_answer() {
    assert_eq!(problem(guest().get("/early").await).await.0.code, Code::InvalidResponse);
}

#[tokio::test]
async fn recursion_overflows_the_stack() {
    let (problem, _) = problem(guest().get("/recurse").await).await;
    assert_eq!(problem.code, Code::StackOverflow);
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let (problem, ended) = problem(guest().get("/eat").await).await;
    assert_eq!(problem.code, Code::OutOfMemory);
    let peak = ended.usage.memory_peak;
    assert!(peak <= ByteSize::mib(128) && peak > ByteSize::mib(100), "{peak}");
}

#[tokio::test]
async fn a_module_that_needs_more_memory_than_allowed_never_starts() {
    let wasm = wat::parse_str("(module (memory 4096) (func (export \"_start\")))").unwrap();
    let (problem, _) = problem(Bench::new(&wasm).get("/").await).await;
    assert_eq!(problem.code, Code::OutOfMemory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a23_a_loop_is_stopped_on_time_also_in_company_and_pays_no_more_than_its_time() {
    let bench = guest().with_timeout(500);
    let lateness = MachineLateness::measure();
    let runs = (0..12).map(|_| async {
        let answered = bench.get("/loop").await;
        let after = answered.head_after();
        let (problem, ended) = problem(answered).await;
        assert_eq!((problem.code, problem.status), (Code::TimedOut, 504));
        assert_eq!(ended.verdict.outcome, Outcome::TimedOut);
        assert!((490_000..=500_000).contains(&ended.usage.wall_us), "{:?}", ended.usage);
        after
    });
    let ended = futures::future::join_all(runs).await;
    let allowed = Duration::from_millis(600) + lateness.worst();
    for after in ended {
        assert!(after >= Duration::from_millis(500), "{after:?} is too early");
        assert!(after <= allowed, "{after:?} is too late, {allowed:?} is allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_do_not_hold_up_others() {
    let bench = guest().with_timeout(1500);
    let lateness = MachineLateness::measure();
    let loops = futures::future::join_all((0..8).map(|_| async { bench.get("/loop").await.read().await }));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let answered = bench.get("/count").await;
            slowest = slowest.max(answered.head_after());
        }
        slowest
    };
    let (_, slowest) = tokio::join!(loops, others);
    let allowed = Duration::from_millis(250) + lateness.worst();
    assert!(slowest < allowed, "a short run took {slowest:?} beside loops, {allowed:?} is allowed");
}

#[tokio::test]
async fn a_sleeper_is_stopped_on_time() {
    let bench = guest().with_timeout(200);
    let lateness = MachineLateness::measure();
    let answered = bench.get("/sleep?ms=5000").await;
    let after = answered.head_after();
    assert_eq!(problem(answered).await.0.code, Code::TimedOut);
    let allowed = Duration::from_millis(300) + lateness.worst();
    assert!(after >= Duration::from_millis(200) && after < allowed, "{after:?}");
}

#[tokio::test]
async fn a_trap_or_a_deadline_after_the_head_breaks_the_body() {
    let answered = guest().get("/late-trap").await;
    assert_eq!(answered.status(), 200);
    let (body, ended) = answered.read().await;
    let error = body.unwrap_err().to_string();
    assert!(error.contains("trap"), "{error}");
    assert_eq!(ended.verdict.code, Some(Code::Trap));

    let answered = guest().with_timeout(300).get("/late-loop").await;
    assert_eq!(answered.status(), 200);
    let (body, ended) = answered.read().await;
    let error = body.unwrap_err().to_string();
    assert!(error.contains("timed_out"), "{error}");
    assert_eq!(ended.verdict.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn too_much_of_a_body_is_refused_either_way() {
    let mut bench = guest();
    bench.limits.body = ByteSize::kib(100);
    let (larger, _) = problem(bench.post("/echo", vec![0; 100 * 1024 + 1]).await).await;
    assert_eq!((larger.code, larger.status), (Code::BodyTooLarge, 413));
    let (body, ended) = bench.get("/forever").await.read().await;
    assert!(body.unwrap_err().to_string().contains("response_too_large"));
    assert!(ended.usage.bytes_out <= ByteSize::kib(100 + 64 + 1));
    assert_eq!(bench.post("/echo", vec![7; 100 * 1024]).await.text().await.len(), 100 * 1024);
}

#[tokio::test]
async fn a_caller_who_goes_stops_the_guest_at_once() {
    let answered = guest().get("/forever").await;
    assert_eq!(answered.status(), 200);
    let ended = answered.abandon().await;
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert!(ended.after < Duration::from_secs(4), "{:?}", ended.after);
}

#[tokio::test]
async fn a_cancel_stops_a_guest_that_has_not_answered() {
    let bench = guest();
    let stop = tokio_util::sync::CancellationToken::new();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    };
    let request = http::Request::get("/sleep?ms=8000").body(fabric::empty()).unwrap();
    let (answered, ()) = tokio::join!(bench.send_until(request, stop.clone()), cancel);
    let (_, ended) = answered.read().await;
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert!(ended.after < Duration::from_secs(4), "{:?}", ended.after);
}

#[tokio::test]
async fn a_trapping_command_answers_502() {
    let wasm = wat::parse_str("(module (func (export \"_start\") unreachable))").unwrap();
    let (problem, _) = problem(Bench::new(&wasm).get("/").await).await;
    assert_eq!(problem.code, Code::Trap);
}

#[tokio::test]
async fn a_command_that_floods_is_cut_off() {
    let mut bench = Bench::new(&wat_guest("flood"));
    bench.limits.body = ByteSize::mib(1);
    let (body, ended) = bench.get("/").await.read().await;
    assert!(body.unwrap_err().to_string().contains("response_too_large"));
    assert_eq!(ended.verdict.code, Some(Code::ResponseTooLarge));
}

#[tokio::test]
async fn an_answer_that_is_whole_but_too_large_is_refused() {
    let mut bench = guest();
    bench.limits.body = ByteSize(1000);
    let (problem, _) = problem(bench.get("/work?bytes=1001").await).await;
    assert_eq!(problem.code, Code::ResponseTooLarge);
}
