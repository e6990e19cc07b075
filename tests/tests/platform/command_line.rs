//! What scripts rely on: standard output alone, JSON, exit statuses, no prompts, one place for settings.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use tests::{Cli, DoneExt as _, Platform};

#[test]
fn what_scripts_rely_on() {
    let platform = Platform::start();
    let ada = platform.user("ada");

    // The file with the key is private, and its key goes to no other server.
    let mode = std::fs::metadata(ada.config()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let elsewhere = ada.run("--url http://127.0.0.1:1 whoami");
    assert_eq!(elsewhere.status, 3, "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("not logged in at http://127.0.0.1:1"), "{elsewhere:?}");

    // Exit statuses and error forms.
    ada.fails("functions show nothing", 4, "function_not_found");
    ada.fails("keys create x --scope invoke --function nothing", 4, "function_not_found");
    ada.fails("functions create Not_A_Name", 2, "invalid_name");
    ada.ok("functions create taken");
    ada.fails("functions create taken", 5, "name_taken");
    assert_eq!(ada.run("--nonsense").status, 2);
    let done = ada.run("functions show nothing --json");
    let problem: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some("function_not_found"), Some(404)));
    assert!(done.stdout.is_empty(), "{done:?}");
    // An error about an input names it, for people with the flag or argument that gave it.
    let done = ada.run("functions create taken --json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&done.stderr).unwrap()["field"], "name");
    assert!(ada.run("functions create taken").stderr.contains("\nfield: name (FUNCTION)\n"));
    let done = ada.run("keys create x --scope invoke --function nothing");
    assert!(done.stderr.contains("\nfield: function (--function)\n"), "{done:?}");
    let done = ada.run(&format!("deploy {} --name hello --cpus 65 --dry-run", tests::guest("hello").display()));
    assert!(done.stderr.contains("\nfield: limits.cpus (--cpus)\n"), "{done:?}");
    let done =
        ada.run(&format!("deploy {} --name hello --egress-bytes 1TiB --dry-run", tests::guest("hello").display()));
    assert!(done.stderr.contains("\nfield: limits.egress_bytes (--egress-bytes)\n"), "{done:?}");
    let done = ada.run("functions --nonsense --json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&done.stderr).unwrap()["code"], "usage");

    // Lists are one object; without a terminal there is neither prompt nor colour.
    let list = ada.json("functions list");
    assert!(list["items"].is_array() && list["next"].is_null(), "{list}");
    let done = ada.run("functions delete taken");
    assert_eq!(done.status, 2, "{done:?}");
    assert!(done.stderr.contains("--yes") && !done.stderr.contains('\x1b'), "{done:?}");
    assert_eq!(ada.run("signup --email x@example.com --account-name xx").status, 2);

    // A dry run changes nothing.
    let plan = ada.json(&format!("deploy {} --name hello --dry-run", tests::guest("hello").display()));
    assert_eq!(plan["create"], true);
    ada.fails("functions show hello", 4, "function_not_found");
    // Nor does a refused first deploy leave a function.
    let hello = tests::guest("hello").display().to_string();
    ada.fails(&format!("deploy {hello} --name hello --egress http://example.org/"), 2, "invalid_field");
    ada.fails("functions show hello", 4, "function_not_found");

    // The environment before the user's file; a flag before the environment.
    let key = ada.token();
    let nobody = Cli::at(&platform.url);
    assert_eq!(nobody.run("whoami").status, 3);
    // Nobody waits for a build of which nothing can come.
    let manifest = "name = \"thing\"\nartifact = \"x.wasm\"\nbuild = \"touch x.wasm\"\n";
    std::fs::write(nobody.work().join("crowdcloud.toml"), manifest).unwrap();
    assert_eq!(nobody.run("deploy").status, 3);
    assert!(!nobody.work().join("x.wasm").exists());
    assert_eq!(nobody.shell(&format!("CROWDCLOUD_KEY={key} crowdcloud whoami")).status, 0);
    let nowhere = "http://127.0.0.1:1";
    let done = ada.shell(&format!("CROWDCLOUD_URL={nowhere} crowdcloud functions"));
    assert_eq!(done.status, 3, "{done:?}");
    let done = ada.shell(&format!("CROWDCLOUD_URL={} crowdcloud functions --url {nowhere}", platform.url));
    assert_eq!(done.status, 3, "{done:?}");
    let done = ada.shell(&format!("CROWDCLOUD_URL={nowhere} crowdcloud functions --url {}", platform.url));
    assert_eq!(done.status, 0, "{done:?}");
    assert!(ada.ok("completion bash").contains("crowdcloud"));
}

/// A server that gives these answers to one request each, and how the requests began.
fn answers(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let mut stream = listener.accept().unwrap().0;
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            asked.push(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    (url, server)
}

const A_JOB: &str = "job_01890a5dac96774bbcceb302099a8057";

#[test]
fn f27_a_function_s_own_problem_is_its_answer() {
    let body = r#"{"type":"about:blank","title":"no such thumb","status":404,"code":"not_found"}"#;
    let answer = |mark: &str| {
        let head = "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nconnection: close\r\n";
        format!("{head}{mark}content-length: {}\r\n\r\n{body}", body.len())
    };
    let problem = serde_json::json!({
        "type": "/docs/errors#not_found", "title": "gone", "status": 404, "code": "not_found", "detail": "no such job",
        "help": "", "retry": false,
    });
    let problem = problem.to_string();
    let refused = format!(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
         proxy-status: crowdcloud; error=http_request_error; details=\"not_found\"\r\n\
         content-length: {}\r\n\r\n{problem}",
        problem.len()
    );
    for command in [format!("jobs output {A_JOB} -o out"), "invoke ada/f /x -o out".to_owned()] {
        let (url, server) = answers(vec![answer(""), answer("proxy-status: upstream; error=x\r\n"), refused.clone()]);
        let nobody = Cli::at(&url);
        let out = nobody.work().join("out");
        for _ in 0..2 {
            nobody.shell(&format!("CROWDCLOUD_KEY=cck_a_b crowdcloud {command}")).ok();
            assert_eq!(std::fs::read_to_string(&out).unwrap(), body, "{command}");
            std::fs::remove_file(&out).unwrap();
        }
        let done = nobody.shell(&format!("CROWDCLOUD_KEY=cck_a_b crowdcloud {command}"));
        assert_eq!(done.status, 4, "{done:?}");
        assert!(done.stderr.contains("error[not_found]") && !out.exists(), "{done:?}");
        server.join().unwrap();
    }
}

#[test]
fn f28_what_cannot_be_written_is_a_failure() {
    let page = r#"{"items":[],"next":null}"#;
    let answer = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    };
    let offline = ["--help", "--version", "functions --help", "completion bash", "new --list", "new --list --json"];
    let asking = ["functions list --json", "jobs", "invoke ada/f /x", "invoke ada/f /x -i -o kept"];
    for command in offline.into_iter().chain(asking) {
        let (url, server) = if asking.contains(&command) { answers(vec![answer(page)]) } else { answers(vec![]) };
        let nobody = Cli::at(&url);
        let done = nobody.shell(&format!("CROWDCLOUD_KEY=cck_a_b crowdcloud {command} >/dev/full"));
        assert_eq!(done.status, 7, "{command}: {done:?}");
        assert!(done.stderr.contains("Standard output cannot be written"), "{command}: {done:?}");
        if command.ends_with("--json") {
            let problem: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
            assert_eq!(problem["code"], "io");
        }
        server.join().unwrap();
    }
    // A file is no different.
    let (url, server) = answers(vec![answer(page), answer(page)]);
    let nobody = Cli::at(&url);
    let done = nobody.shell("CROWDCLOUD_KEY=cck_a_b crowdcloud invoke ada/f /x -o /dev/full");
    assert_eq!(done.status, 7, "{done:?}");
    assert!(done.stderr.contains("error[io]: /dev/full cannot be written"), "{done:?}");
    let done = nobody.shell(&format!("CROWDCLOUD_KEY=cck_a_b crowdcloud jobs output {A_JOB} -o /no/such/folder/x"));
    assert_eq!(done.status, 7, "{done:?}");
    assert!(done.stderr.contains("error[io]: /no/such/folder/x cannot be written"), "{done:?}");
    server.join().unwrap();
    // A reader that has gone is none; hints that cannot be shown are none either.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let gone =
        std::process::Command::new(tests::program()).args(["completion", "bash"]).stdout(writer).output().unwrap();
    assert!(gone.status.success() && gone.stderr.is_empty(), "{gone:?}");
    let done = nobody.shell("crowdcloud whoami 2>/dev/full");
    assert_eq!(done.status, 3, "an error that cannot be shown keeps its status: {done:?}");
}

#[test]
fn f29_a_path_reaches_its_own_function_or_is_refused() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (arguments, wanted) in [
        ("ada/f '/a b//c%2Fd?q=../x'", "GET /f/ada/f/a%20b//c%2Fd?q=../x HTTP/1.1"),
        ("ada/f '/a\\..\\b'", "GET /f/ada/f/a%5C..%5Cb HTTP/1.1"),
        ("'ada/f?x=1' /y", "GET /f/ada/f%3Fx=1/y HTTP/1.1"),
    ] {
        let (url, server) = answers(vec![ok.to_owned()]);
        Cli::at(&url).shell(&format!("CROWDCLOUD_KEY=cck_a_b crowdcloud invoke {arguments}")).ok();
        assert_eq!(server.join().unwrap(), [wanted]);
    }
    let nobody = Cli::at("http://127.0.0.1:1");
    for command in [
        "invoke ada/f /../other/x",
        "invoke ada/f /a/../../other",
        "invoke ada/f /%2e%2e/other",
        "invoke ada/.. /x",
        "invoke ada/f '/a#b'",
        "invoke ada/f /../x --async",
        "jobs submit f '/a#b'",
        "functions show ..",
        "functions delete .. --yes",
        "versions show .. 1",
        "queues show .",
    ] {
        let done = nobody.shell(&format!("CROWDCLOUD_KEY=cck_a_b crowdcloud {command}"));
        assert_eq!(done.status, 2, "{command}: {done:?}");
        assert!(done.stderr.contains("cannot be sent as it is"), "{command}: {done:?}");
    }
}

#[test]
fn f30_a_freed_name_is_deployed_to_at_once() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    for _ in 0..2 {
        ada.deploy("hello", "");
        ada.ok("invoke hello");
        ada.ok("functions delete hello --yes");
        ada.fails("invoke hello", 4, "function_not_found");
    }
    // What was deleted last comes back.
    ada.ok("functions restore hello");
    ada.ok("invoke hello");
    ada.fails("functions restore hello", 5, "name_taken");
    // With another name it is the same.
    ada.ok("functions rename hello greet");
    ada.ok("invoke greet");
    let said = ada.fails("invoke hello", 4, "function_not_found");
    assert!(said.contains("was renamed to `greet`"), "{said}");
    ada.deploy("hello", "");
    ada.fails("functions rename hello greet", 5, "name_taken");
}

#[test]
fn a_manifest_with_an_unknown_key_says_which_was_meant() {
    let nobody = Cli::at("http://127.0.0.1:1");
    std::fs::write(nobody.work().join("crowdcloud.toml"), "name = 'x1'\nartefact = 'x.wasm'\n").unwrap();
    let said = nobody.fails("deploy .", 2, "manifest");
    assert!(said.contains("unknown key `artefact`") && said.contains("did you mean `artifact`?"), "{said}");
}

#[test]
fn the_fallback_compiler_builds_functions_too() {
    let nobody = Cli::at("http://127.0.0.1:1");
    nobody.shell("crowdcloud new hi").ok();
    nobody.shell("CROWDCLOUD_WASM_TOOLCHAIN=debian crowdcloud build hi").ok();
    let built = std::fs::read(nobody.work().join("hi/dist/hi.wasm")).unwrap();
    assert!(built.starts_with(b"\0asm"));
    let done = nobody.shell("CROWDCLOUD_WASM_TOOLCHAIN=abacus crowdcloud build hi");
    assert!(done.status != 0 && done.stderr.contains("abacus"), "{done:?}");
}
