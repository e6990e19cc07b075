//! WebAssembly in microVMs, by the literal commands of a user: what asks for more than the wasm lane grants runs there
//! unchanged, and says why.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::{Platform, guest, wait_until};

use crate::run_path::{get, plain};
use crate::vm::{needs_vm_lane, settled};

pub(crate) fn a_component_answers_logs_and_fails_alike_in_both_lanes(platform: &Platform) {
    let eve = platform.user("eve");
    needs_vm_lane(&eve);
    let probe = guest("probe").display().to_string();
    eve.ok(&format!("deploy {probe} --name light --timeout 60s --env COLOUR=green"));
    eve.ok(&format!("deploy {probe} --name heavy --timeout 60s --env COLOUR=green --lane vm"));
    let key = eve.token();
    let answer = |function: &str, path: &str| get(&format!("{}/f/eve/{function}{path}", platform.url), Some(&key));
    for path in ["/", "/", "/env", "/status/418", "/answer?x-own=kept", "/bytes?n=300000", "/log?lines=3&bytes=8"] {
        let (light, heavy) = (answer("light", path), answer("heavy", path));
        assert_eq!((heavy.status, plain(&heavy)), (light.status, plain(&light)), "{path}: {heavy:?}");
        for name in ["content-type", "x-own"] {
            assert_eq!(heavy.header(name), light.header(name), "{path}: {name}");
        }
    }
    for (path, code) in [("/trap", "trap"), ("/recurse", "stack_overflow"), ("/alloc?mib=200", "out_of_memory")] {
        eve.fails(&format!("invoke heavy '{path}'"), 1, code);
        let said = settled(&eve, "heavy", path.split('?').next().unwrap());
        assert_eq!((&said["lane"], &said["code"]), (&"vm".into(), &code.into()), "{said}");
    }
    let record = settled(&eve, "heavy", "/env");
    assert_eq!((&record["lane"], &record["outcome"]), (&"vm".into(), &"succeeded".into()), "{record}");
    assert_eq!(settled(&eve, "light", "/env")["lane"], "wasm");
    for function in ["light", "heavy"] {
        let said = ["line 1 oooooooo", "line 2 eeeeeeee", "line 3 oooooooo"];
        wait_until(&format!("the log of {function} has come"), Duration::from_secs(15), || {
            let log = eve.ok(&format!("logs {function}"));
            said.iter().all(|line| log.contains(line))
        });
    }
    let version = eve.json("versions show heavy v1");
    assert_eq!((&version["runs_in"], &version["lane_reason"]), (&"vm".into(), &"asked".into()), "{version}");
    assert_eq!((&version["format"], &version["kind"]), (&"component (wasi:http@0.2)".into(), &"http".into()));
}

pub(crate) fn what_the_wasm_lane_cannot_grant_runs_in_a_machine_and_says_why(platform: &Platform) {
    let dora = platform.user("dora");
    needs_vm_lane(&dora);
    dora.deploy("hello", "--cpus 2 --memory 256MiB --timeout 60s");
    for _ in 0..2 {
        let said = dora.ok("invoke hello /x");
        assert_eq!(said, "Hello from CrowdCloud: GET /x, request 1 of this instance");
    }
    let version = dora.json("versions show hello v1");
    assert_eq!((&version["runs_in"], &version["lane_reason"]), (&"vm".into(), &"cpus".into()), "{version}");
    assert!(dora.ok("versions show hello v1").contains("vm (it asks for more than one CPU)"));
    assert_eq!(settled(&dora, "hello", "/x")["lane"], "vm");
    dora.fails(&format!("deploy {} --name hello --cpus 2 --lane wasm", guest("hello").display()), 2, "invalid_field");

    // A WASI command is one there too.
    dora.deploy("shout", "--cpus 2 --memory 256MiB --timeout 60s");
    assert_eq!(dora.ok("invoke shout -d hello"), "HELLO");
    assert!(dora.fails("invoke shout", 1, "function_exit").contains("exit status 2"));
    wait_until("its log has come", Duration::from_secs(10), || dora.ok("logs shout").contains("nothing to shout"));
}

/// A machine runs code that its node compiled.
#[test]
fn no_compiler_is_inside() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args(["tree", "--offline", "--package", "wasm-guest", "--edges", "normal"]);
    let tree = cargo.args(["--prefix", "none"]).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("wasmtime v"), "{tree}");
    let compilers: Vec<&str> = tree.lines().filter(|line| line.contains("cranelift-codegen")).collect();
    assert_eq!(compilers, Vec::<&str>::new());
}
