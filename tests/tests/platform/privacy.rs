//! Who may call, and what a function may see.

use tests::{Platform, run_steps, steps};

use crate::run_path::{get, plain, send};

#[test]
fn functions_are_private_and_hear_what_we_vouch_for() {
    let platform = Platform::start();
    let steps = steps![
        functions_are_private_by_default,
        keys_and_cookies_of_ours_never_reach_a_function,
        a_function_cannot_act_for_the_portal,
        a18_a22_f16_a_function_hears_only_what_we_vouch_for,
    ];
    run_steps(&platform, &steps);
}

fn functions_are_private_by_default(platform: &Platform) {
    let (ada, eve) = (platform.user("ada"), platform.user("eve"));
    ada.deploy("hello", "");
    let url = format!("{}/f/ada/hello", platform.url);
    assert_eq!(get(&url, Some(&ada.token())).status, 200);
    let refused = get(&url, None);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(get(&format!("{}/f/ada/nothing", platform.url), None).body, refused.body, "as if it did not exist");
    // Another account's private function is not there at all, and no other than one that does not exist.
    let foreign = get(&url, Some(&eve.token()));
    let missing = get(&format!("{}/f/ada/nothing", platform.url), Some(&eve.token()));
    assert_eq!((foreign.status, missing.status), (404, 404), "{foreign:?} {missing:?}");
    assert!(String::from_utf8_lossy(&foreign.body).contains("function_not_found"), "{foreign:?}");
    for bad in ["cck_nonsense", "cck_00000000000000000000000000000000_0000", "nonsense"] {
        let answer = get(&url, Some(bad));
        assert_eq!(answer.status, 401, "{bad}: {answer:?}");
    }
    assert_eq!(ada.run("invoke eve/hello").status, 4);
    ada.ok("functions set hello --public");
    assert_eq!(get(&url, None).status, 200);
    ada.ok("functions set hello --private");
    assert_eq!(get(&url, None).status, 401);
}

fn keys_and_cookies_of_ours_never_reach_a_function(platform: &Platform) {
    let bea = platform.user("bea");
    bea.deploy("probe", "--public");
    let key = bea.token();
    let url = format!("{}/f/bea/probe/headers", platform.url);
    let sent = "cookie: cc_session=secret-session; theirs=1\r\nx-crowdcloud-ticket: forged\r\n\
                x-crowdcloud-account: bea\r\nx-mine: yes\r\n";
    let seen = String::from_utf8_lossy(&plain(&send("GET", &url, Some(&key), sent, b""))).to_lowercase();
    assert!(seen.contains("x-mine: yes"), "{seen}");
    for secret in ["cck_", "secret-session", "forged", "x-crowdcloud-ticket", "x-crowdcloud-account"] {
        assert!(!seen.contains(secret), "the function saw {secret}: {seen}");
    }
    for name in ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-forwarded-for"] {
        assert!(seen.contains(name), "{name} is missing: {seen}");
    }
    // On a public function, an `Authorization` that is not ours is the function's own affair.
    let own = send("GET", &url, None, "authorization: Basic dXNlcjpwYXNz\r\n", b"");
    let seen = String::from_utf8_lossy(&plain(&own)).to_lowercase();
    assert!(seen.contains("authorization: basic dxnlcjpwyxnz"), "{seen}");
}

fn a_function_cannot_act_for_the_portal(platform: &Platform) {
    let cleo = platform.user("cleo");
    cleo.deploy("probe", "--public");
    let answer = get(
        &format!(
            "{}/f/cleo/probe/answer?set-cookie=cc_session=evil&clear-site-data=*&service-worker-allowed=/\
             &strict-transport-security=max-age=1&x-own=1",
            platform.url
        ),
        None,
    );
    assert_eq!(answer.header("x-own"), Some("1"), "{answer:?}");
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")), "{answer:?}");
    for name in ["clear-site-data", "service-worker-allowed", "strict-transport-security"] {
        assert!(answer.header(name).is_none(), "{name} came through: {answer:?}");
    }
    assert!(!answer.head.contains("cc_session"), "{answer:?}");
    // The core's own paths are closed to the world.
    for path in ["/internal/routes/cleo/probe", "/api/v1/../../internal/routes/cleo/probe"] {
        let answer = get(&format!("{}{path}", platform.url), Some(&cleo.token()));
        assert!(!String::from_utf8_lossy(&answer.body).contains("revision"), "{answer:?}");
    }
}

fn a18_a22_f16_a_function_hears_only_what_we_vouch_for(platform: &Platform) {
    let dora = platform.user("dora");
    dora.deploy("probe", "");
    let (key, url) = (dora.token(), format!("{}/f/dora/probe/headers", platform.url));
    let lies = "forwarded: for=6.6.6.6\r\nx-forwarded-for: 6.6.6.6\r\nX_Forwarded_Host: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\n\
                cf-connecting-ip: 6.6.6.6\r\nx-original-url: /6.6.6.6\r\nx-client-ip: 6.6.6.6\r\n\
                true-client-ip: 6.6.6.6\r\nx-forwarded-ssl: 6.6.6.6\r\nx-forwarded-scheme: 6.6.6.6\r\n\
                x_rewrite_url: /6.6.6.6\r\nx-mine: yes\r\n";
    // The same table for calls, for calls that are answered later, and for jobs.
    let later = format!("prefer: respond-async, wait=10\r\n{lies}");
    for headers in [lies, &later] {
        let seen = String::from_utf8_lossy(&plain(&send("GET", &url, Some(&key), headers, b""))).to_lowercase();
        assert!(seen.contains("x-mine: yes") && !seen.contains("6.6.6.6"), "{seen}");
        assert!(seen.contains("x-forwarded-for: 127.0.0.1") && seen.contains("x-forwarded-prefix"), "{seen}");
    }
    let lied: Vec<[&str; 2]> = lies.lines().map(|line| line.split_once(": ").unwrap().into()).collect();
    let job = serde_json::json!({"function": "probe", "method": "GET", "path": "/headers", "headers": lied});
    let jobs = format!("{}/api/v1/jobs", platform.url);
    let made = send("POST", &jobs, Some(&key), "content-type: application/json\r\n", job.to_string().as_bytes());
    assert_eq!(made.status, 202, "{made:?}");
    let id = made.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    dora.ok(&format!("jobs wait {id}"));
    let seen = dora.ok(&format!("jobs output {id}"));
    assert!(seen.contains("x-mine: yes") && !seen.contains("6.6.6.6"), "{seen}");

    // A host that nobody has configured is nobody's here, whoever asks; where a job is, no header says.
    let ask = |host: &str, path: &str, more: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n{more}");
        tests::http(platform.address(), format!("{head}connection: close\r\n\r\n").as_bytes())
    };
    for path in ["/", "/api/v1/me", "/f/dora/probe/headers"] {
        let refused = ask("evil.example", path, "");
        assert_eq!(refused.status, 421, "{path}: {refused:?}");
        assert!(String::from_utf8_lossy(&plain(&refused)).contains("--host evil.example"), "{refused:?}");
    }
    assert_eq!(ask("evil.example", "/healthz", "").status, 200);
    let port = platform.address().rsplit(':').next().unwrap();
    let accepted = ask("probe--dora.localhost:6666", "/headers", "prefer: respond-async\r\n");
    let place = accepted.header("location").unwrap_or_default();
    assert!(place.starts_with(&format!("http://localhost:{port}/api/v1/jobs/job_")), "{accepted:?}");
}
