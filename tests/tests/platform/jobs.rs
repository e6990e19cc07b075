//! Jobs, as the literal commands: submitted, watched, cancelled, tried again, explained; and later answers over HTTP.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Cli, DoneExt as _, EMBEDDED, Platform, run_steps, steps, wait_until};

use crate::run_path::{get, plain, send};

fn state(cli: &Cli, job: &str) -> String {
    cli.json(&format!("jobs show {job}"))["state"].as_str().unwrap().to_owned()
}

fn states(job: &Value) -> Vec<&str> {
    job["transitions"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect()
}

#[test]
fn jobs_end_and_are_told() {
    let platform = Platform::start();
    let steps = steps![
        from_submit_to_output,
        bad_input_is_refused_at_once,
        any_function_can_answer_later,
        messages_are_leased_or_become_jobs,
        what_fails_is_told_and_tried_again,
    ];
    run_steps(&platform, &steps);
}

fn from_submit_to_output(platform: &Platform) {
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 5s");

    assert_eq!(ada.ok("jobs submit probe /echo -d hello --wait"), "hello");
    // What a terminal would obey is no label.
    let tinted = "jobs submit probe /echo --label \"$(printf 'tint=\\033[31mred')\"";
    assert!(ada.fails(tinted, 2, "invalid_field").contains("U+001B"));
    let flags = "--label kind=test --memory 96MiB --timeout 20s --egress-bytes 2MiB";
    let job = ada.ok(&format!("jobs submit probe '/log?lines=4&bytes=20' {flags}"));
    assert_eq!(ada.ok(&format!("jobs wait {job}")), format!("{job} succeeded"));
    let shown = ada.json(&format!("jobs show {job}"));
    assert_eq!(shown["egress_bytes"], "2097152");
    assert_eq!(states(&shown), ["queued", "placed", "running", "succeeded"], "{shown}");
    assert_eq!((shown["timeout"].as_u64(), shown["memory"].as_str()), (Some(20_000), Some("100663296")));
    assert!(shown["usage"]["wall_us"].as_u64() > Some(0) && shown["node"].is_string(), "{shown}");
    assert!(ada.ok(&format!("jobs show {job}")).contains("succeeded"));
    // An answer is a program's as it came, and visible on a terminal.
    let echo = "crowdcloud invoke probe /echo -d \"$(printf 'a\\033[31m')\"";
    assert_eq!(ada.shell(echo).stdout, b"a\x1b[31m");
    std::fs::write(ada.work().join("echo.sh"), echo).unwrap();
    let on_terminal = ada.shell("script -qec 'sh echo.sh' /dev/null").stdout;
    assert!(String::from_utf8_lossy(&on_terminal).contains("a\\x1b[31m"), "{on_terminal:?}");
    wait_until("the job's log has come", Duration::from_secs(10), || {
        ada.ok(&format!("jobs logs {job}")).lines().count() >= 4
    });
    let why = ada.json(&format!("jobs why {job}"));
    assert_eq!(why["placement"]["ranked"][0]["node"], shown["node"], "{why}");
    assert!(ada.ok(&format!("jobs why {job}")).contains("local-"), "nodes have names");
    let listed = ada.json("jobs list --label kind=test --state succeeded");
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    ada.fails(&format!("jobs cancel {job}"), 5, "job_ended");
    // Its run is a run as any other, and is billed once.
    let run = shown["run"].as_str().unwrap();
    wait_until("the run is settled", Duration::from_secs(10), || {
        let done = ada.run(&format!("invocations show {run} --json"));
        serde_json::from_slice::<Value>(&done.stdout).is_ok_and(|run| run["settled"] == true)
    });
    assert_eq!(ada.json(&format!("invocations show {run}"))["job"].as_str(), Some(job.as_str()));

    // Both bodies through the store.
    std::fs::write(ada.work().join("big"), vec![b'x'; 2 << 20]).unwrap();
    assert_eq!(ada.ok("jobs submit probe /count -d @big --wait").trim(), (2 << 20).to_string());
    ada.ok("jobs submit probe '/bytes?n=1000000' --wait -o out");
    assert_eq!(std::fs::metadata(ada.work().join("out")).unwrap().len(), 1_000_000);
    // Bytes that are no text.
    std::fs::write(ada.work().join("odd"), [0_u8, 255, 1]).unwrap();
    ada.ok("jobs submit probe /echo -d @odd --wait -o odd2");
    assert_eq!(std::fs::read(ada.work().join("odd2")).unwrap(), [0_u8, 255, 1]);
    // One function over many inputs.
    std::fs::write(ada.work().join("lines"), "one\ntwo\nthree\n").unwrap();
    let array: Vec<String> = ada.ok("jobs submit probe /echo --each-line lines").lines().map(str::to_owned).collect();
    assert_eq!(array.len(), 3);
    ada.ok(&format!("jobs wait {}", array.join(" ")));
    assert_eq!(ada.ok(&format!("jobs output {}", array[1])), "two");
    assert_eq!(ada.json(&format!("jobs list --array {}", array[0]))["items"].as_array().unwrap().len(), 3);
    let in_order = |sort: &str| -> Vec<String> {
        let listed = ada.json(&format!("jobs list --array {} --sort {sort}", array[0]));
        listed["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut sorted = array.clone();
    sorted.sort();
    assert_eq!(in_order("submitted"), sorted);
    assert_eq!(in_order("-ended").len(), 3, "all have ended");
    // The status and the headers are replayed, too.
    let job = ada.ok("jobs submit probe /status/418");
    ada.ok(&format!("jobs wait {job}"));
    assert!(ada.ok(&format!("jobs output {job} -i")).starts_with("HTTP/1.1 418"));
}

fn what_fails_is_told_and_tried_again(platform: &Platform) {
    let eve = platform.user("eve");
    eve.deploy("probe", "--timeout 5s");

    let trapped = eve.run("jobs submit probe /trap --wait");
    assert!(trapped.status == 1 && trapped.stderr.contains("error[trap]"), "{trapped:?}");
    let late = eve.run("jobs submit probe /loop --timeout 500ms --wait");
    assert!(late.status == 8 && late.stderr.contains("error[timed_out]"), "{late:?}");
    let job = eve.ok("jobs submit probe /status/503 --retries 2 --backoff 50ms");
    let waited = eve.run(&format!("jobs wait {job}"));
    assert_eq!((waited.status, waited.text()), (1, format!("{job} dead")));
    let dead = eve.json(&format!("jobs show {job}"));
    assert_eq!((dead["attempts"].as_u64(), dead["status"].as_u64()), (Some(3), Some(503)), "{dead}");
    assert_eq!(states(&dead).iter().filter(|state| **state == "queued").count(), 3);
    // Somebody tries it once more.
    eve.ok(&format!("jobs retry {job}"));
    assert_eq!(eve.run(&format!("jobs wait {job}")).status, 1);

    // One that runs is stopped on its node.
    let job = eve.ok("jobs submit probe '/sleep?ms=60000' --timeout 2m");
    wait_until("it runs", Duration::from_secs(10), || state(&eve, &job) == "running");
    let asked = Instant::now();
    eve.ok(&format!("jobs cancel {job}"));
    assert_eq!(eve.run(&format!("jobs wait {job}")).status, 1);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_eq!(state(&eve, &job), "cancelled");
    eve.fails(&format!("jobs cancel {job}"), 5, "job_ended");
    wait_until("the node is idle again", Duration::from_secs(10), || {
        eve.json("nodes list")["items"].as_array().unwrap().iter().all(|node| node["running"] == 0)
    });
    // One that waits ends at once.
    let job = eve.ok("jobs submit probe --not-before 10m");
    assert!(eve.ok(&format!("jobs why {job}")).contains("not tried before"));
    eve.fails(&format!("jobs output {job}"), 5, "job_not_ended");
    assert_eq!(eve.ok(&format!("jobs cancel {job}")), format!("{job} cancelled"));
    eve.fails(&format!("jobs wait {} --timeout 300ms", eve.ok("jobs submit probe --not-before 1h")), 8, "timeout");
}

fn bad_input_is_refused_at_once(platform: &Platform) {
    let bea = platform.user("bea");
    bea.deploy("probe", "--timeout 5s --body 1MiB");
    for (flags, status, code, said) in [
        ("nothing", 4, "function_not_found", "nothing"),
        ("probe@v9", 4, "version_not_found", "v9"),
        ("probe --cpus 65", 2, "invalid_field", "1 to 64"),
        ("probe --cpus 0", 2, "invalid_field", "1 to 64"),
        ("probe --memory 1TiB", 2, "invalid_field", "1MiB to 64GiB"),
        ("probe --timeout 1000h", 2, "invalid_field", "10ms to 3600s"),
        ("probe --egress-bytes 1TiB", 2, "invalid_field", "0B to 100GiB"),
        ("probe --retries 1000", 2, "invalid_field", "0 to 20"),
        ("probe --priority -11", 2, "invalid_field", "-10 to 10"),
        ("probe --not-before 2001-01-01T00:00:00Z", 2, "invalid_field", "past"),
        ("probe --webhook http://127.0.0.1:1/", 2, "invalid_field", "private"),
        ("probe --webhook http://169.254.169.254/", 2, "invalid_field", "private"),
        ("probe --label '=x'", 2, "invalid_field", "labels"),
        // More than any node has: refused with the reason, instead of waiting for ever.
        ("probe --memory 4GiB --cpus 64", 2, "exceeds_nodes", "at most"),
    ] {
        // Without a VM lane the last one has another reason.
        let done = bea.run(&format!("jobs submit {flags}"));
        let lane_missing = code == "exceeds_nodes" && done.stderr.contains("error[no_node]");
        assert!(done.status == status || lane_missing, "{flags}: {done:?}");
        assert!(lane_missing || done.stderr.contains(code) && done.stderr.contains(said), "{flags}: {done:?}");
        assert!(done.stdout.is_empty(), "{done:?}");
    }
    std::fs::write(bea.work().join("big"), vec![0; 2 << 20]).unwrap();
    bea.fails("jobs submit probe -d @big", 6, "body_too_large");
    let large = bea.run("jobs submit probe '/bytes?n=2000000' --wait");
    assert!(large.status == 1 && large.stderr.contains("error[response_too_large]"), "{large:?}");
    bea.fails("jobs show job_00000000000000000000000000000000", 4, "not_found");
    assert_eq!(bea.run("jobs show nonsense").status, 2);
    assert!(!bea.json("jobs list").to_string().contains("queued"));
    // One effect for one key, and another body under it is refused.
    let first = bea.ok("jobs submit probe -d a --idempotency-key once");
    assert_eq!(bea.ok("jobs submit probe -d a --idempotency-key once"), first);
    bea.fails("jobs submit probe -d b --idempotency-key once", 2, "idempotency_mismatch");
    let later = bea.ok("jobs submit probe --not-before 2h --idempotency-key later");
    assert_eq!(bea.ok("jobs submit probe --not-before 2h --idempotency-key later"), later);
}

fn any_function_can_answer_later(platform: &Platform) {
    let cleo = platform.user("cleo");
    cleo.deploy("probe", "--timeout 20s");
    let key = cleo.token();
    let base = format!("{}/f/cleo/probe", platform.url);
    let later = |path: &str, prefer: &str, more: &str, body: &[u8]| {
        send("POST", &format!("{base}{path}"), Some(&key), &format!("prefer: {prefer}\r\n{more}"), body)
    };

    let accepted = later("/echo", "respond-async", "content-type: text/x-own\r\n", b"hello");
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.header("preference-applied"), Some("respond-async"));
    let location = accepted.header("location").unwrap().to_owned();
    let id = location.rsplit('/').next().unwrap().to_owned();
    let read = |path: &str| get(&format!("{}{path}", platform.url), Some(&key));
    wait_until("the job has ended", Duration::from_secs(10), || {
        let job: Value = serde_json::from_slice(&plain(&read(&location))).unwrap();
        job["state"] == "succeeded"
    });
    let output = read(&format!("{location}/output"));
    assert_eq!((output.status, plain(&output)), (200, b"hello".to_vec()));
    assert_eq!(output.header("content-type"), Some("text/x-own"), "{}", output.head);
    assert!(output.header("content-security-policy").is_some_and(|policy| policy.starts_with("sandbox")));
    assert_eq!(cleo.json(&format!("jobs show {id}"))["path"], "/echo");

    // In time, it is the function's own answer.
    let quick = later("/status/201", "respond-async, wait=10", "", b"");
    assert_eq!(quick.status, 201, "{quick:?}");
    assert!(quick.header("x-crowdcloud-run").is_some() && quick.header("location").is_none(), "{}", quick.head);
    let trapped = later("/trap", "respond-async, wait=10", "", b"");
    let problem: Value = serde_json::from_slice(&plain(&trapped)).unwrap();
    assert_eq!((trapped.status, &problem["code"]), (502, &"trap".into()), "{trapped:?}");
    // Not in time, it is the job's place.
    let slow = later("/sleep?ms=5000", "respond-async, wait=1", "", b"");
    assert_eq!((slow.status, slow.header("preference-applied")), (202, Some("respond-async, wait=1")));
    assert!(slow.took < Duration::from_secs(4), "{:?}", slow.took);
    // A body beyond 64 KiB goes through the store.
    let large = later("/count", "respond-async, wait=10", "", &vec![b'x'; 300_000]);
    assert_eq!((large.status, plain(&large).trim_ascii().to_vec()), (200, b"300000".to_vec()), "{large:?}");
    // The same key twice is one job.
    let once =
        || later("/echo", "respond-async", "idempotency-key: k1\r\n", b"once").header("location").map(str::to_owned);
    assert_eq!(once(), once());
    // Also where another version stands behind the alias by now, and where a tracer has been at work.
    cleo.deploy("probe", "--timeout 20s");
    let traced = later("/echo", "respond-async", "idempotency-key: k1\r\ntraceparent: 00-1\r\n", b"once");
    assert_eq!(traced.header("location").map(str::to_owned), once(), "{traced:?}");
    // The function sees what it sees of a direct call.
    let (target, sent) = (format!("/headers?q={}", "x".repeat(10 << 10)), "x-name: Gr\u{fc}n\r\n");
    let direct = send("POST", &format!("{base}{target}"), Some(&key), sent, b"");
    let deferred = later(&target, "respond-async, wait=10", sent, b"");
    let lines = |answer: &tests::Answer| {
        let mut lines: Vec<Vec<u8>> = plain(answer).split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    assert_eq!((deferred.status, lines(&deferred)), (200, lines(&direct)), "{deferred:?}");
    let other = later("/echo", "respond-async", "idempotency-key: k1\r\n", b"other");
    assert_eq!(other.status, 422, "{other:?}");

    // On the function's own host the job's place is elsewhere.
    let host = platform.address().rsplit(':').next().unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: probe--cleo.localhost:{host}\r\nauthorization: Bearer {key}\r\n\
         prefer: respond-async\r\nconnection: close\r\n\r\n"
    );
    let accepted = tests::http(platform.address(), request.as_bytes());
    let place = accepted.header("location").unwrap_or_default();
    assert!(place.starts_with(&format!("http://localhost:{host}/api/v1/jobs/job_")), "{accepted:?}");
    // Strangers to a public function could never see the job: they are answered as usual.
    cleo.ok("functions set probe --public");
    let stranger = send("GET", &format!("{base}/status/204"), None, "prefer: respond-async\r\n", b"");
    assert_eq!(stranger.status, 204, "{stranger:?}");

    assert_eq!(cleo.ok("invoke probe /echo -d hello --async --wait"), "hello");
    let job = cleo.ok("invoke probe /echo -d hello --async");
    cleo.ok(&format!("jobs wait {job}"));
    assert_eq!(cleo.ok(&format!("jobs output {job}")), "hello");
}

fn messages_are_leased_or_become_jobs(platform: &Platform) {
    let dora = platform.user("dora");
    dora.deploy("probe", "--timeout 5s");
    dora.fails("queues put orders one", 4, "not_found");
    dora.ok("queues set orders --lease 2s --deliveries 3");
    let message = dora.ok("queues put orders one");

    // Whoever leases it has it alone, and until it is acknowledged it comes again.
    let leased = dora.json("queues lease orders");
    assert_eq!(leased["messages"][0]["id"].as_str(), Some(message.as_str()));
    assert_eq!(leased["messages"][0]["body"]["text"], "one");
    assert_eq!(
        dora.json("queues messages orders")["items"][0]["deliveries"],
        1,
        "who looks sees it, and takes nothing"
    );
    dora.fails(&format!("queues discard orders {message}"), 4, "not_found");
    assert_eq!(dora.json("queues discard orders --all")["messages"], 0, "none is dead");
    assert!(dora.ok("queues lease orders").lines().count() <= 1, "nobody else gets it");
    let again = dora.json("queues lease orders --wait 10s --lease 1m");
    assert_eq!(again["messages"][0]["deliveries"], 2);
    let token = |leased: &Value| leased["messages"][0]["lease"].as_str().unwrap().to_owned();
    dora.fails(&format!("queues ack orders {message} {}", token(&leased)), 5, "lease_lost");
    dora.ok(&format!("queues ack orders {message} {}", token(&again)));
    assert_eq!(dora.json("queues show orders")["waiting"], 0);

    // A trigger makes each a job, with the message as its input.
    assert!(dora.ok("triggers set each probe /echo --queue orders --retries 2").contains("orders"));
    for word in ["two", "three", "four"] {
        dora.ok(&format!("queues put orders {word}"));
    }
    let done = || dora.json("jobs list --label trigger=each --state succeeded")["items"].as_array().unwrap().clone();
    wait_until("all three are done", Duration::from_secs(20), || done().len() == 3);
    let mut outputs: Vec<String> =
        done().iter().map(|job| dora.ok(&format!("jobs output {}", job["id"].as_str().unwrap()))).collect();
    outputs.sort();
    assert_eq!(outputs, ["four", "three", "two"]);
    assert_eq!(dora.json("queues show orders")["waiting"], 0);
    dora.fails("queues delete orders", 5, "queue_in_use");
    dora.ok("triggers delete each");
    dora.ok("queues delete orders");
}

#[test]
fn many_jobs_of_one_leave_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "[executor]\nnode-slots = 8\n").unwrap();
    let platform = Platform::start_in(folder.path(), &EMBEDDED);
    let (ada, bob) = (platform.user("ada"), platform.user("bob"));
    ada.deploy("probe", "--timeout 20s");
    bob.deploy("probe", "--timeout 20s");
    std::fs::write(ada.work().join("lines"), "\n".repeat(60)).unwrap();
    ada.ok("jobs submit probe '/sleep?ms=500' --each-line lines");
    // Three quarters of the slots are for jobs; one of bob's does not wait for all of ada's.
    let began = Instant::now();
    assert_eq!(bob.ok("jobs submit probe /echo -d bob --wait"), "bob");
    let waits = ada.json("jobs list --state queued --limit 200")["items"].as_array().unwrap().len();
    assert!(waits > 20, "bob's was done after {:?}, when only {waits} of ada's waited", began.elapsed());
    // And calls find a slot at once.
    for _ in 0..5 {
        let answer = get(&format!("{}/f/bob/probe/", platform.url), Some(&bob.token()));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let waiting = ada.json("jobs list --state queued --limit 1")["items"][0]["id"].as_str().unwrap().to_owned();
    let why = ada.ok(&format!("jobs why {waiting}"));
    assert!(why.contains("before it") || why.contains("without a free slot"), "{why}");
    wait_until("all are done", Duration::from_secs(60), || {
        ada.json("jobs list --state succeeded --limit 200")["items"].as_array().unwrap().len() == 60
    });
}

#[test]
fn jobs_outlive_the_platform() {
    let folder = tempfile::tempdir().unwrap();
    let mut platform = Platform::start_in(folder.path(), &[]);
    let mut ada = platform.user("ada");
    ada.deploy("probe", "--timeout 60s");
    let running = ada.ok("jobs submit probe '/sleep?ms=3000'");
    let waiting = ada.ok("jobs submit probe /echo -d later --not-before 4s");
    wait_until("it runs", Duration::from_secs(10), || state(&ada, &running) == "running");
    platform.kill();
    drop(platform);
    let platform = Platform::start_in(folder.path(), &[]);
    ada.move_to(&platform.url);
    let key = ada.shell_with(
        &format!("crowdcloud login --url {} --email ada@example.com --password-stdin", platform.url),
        b"correct horse battery\n",
    );
    key.ok();
    ada.ok(&format!("jobs wait {running} {waiting}"));
    let again = ada.json(&format!("jobs show {running}"));
    let seen = states(&again);
    assert_eq!(seen.iter().filter(|state| **state == "succeeded").count(), 1, "{again}");
    assert!(seen.iter().filter(|state| **state == "queued").count() >= 2, "it was taken back: {again}");
    assert_eq!(ada.ok(&format!("jobs output {waiting}")), "later");
}
