//! Functions in microVMs, by the literal commands of a user: what cannot run in the wasm lane runs here, behind the
//! same kind of URL, with the same keys, logs, receipts and errors.

mod archive;
mod bad_images;
mod examples;
mod faults;
mod image_set;
mod isolation;
mod late;
mod lent;
mod metering;
mod servers;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::{Cli, EMBEDDED, Platform, examples, run_steps, steps, wait_until};

use self::archive::oci_archive;
use crate::run_path::{get, plain, send};
use crate::vm_wasm;

/// The code of a problem document, and where `Proxy-Status` says the same.
fn code_of(answer: &tests::Answer) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&plain(answer)).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default().to_owned();
    let told = answer.header("proxy-status").unwrap_or_default();
    assert!(told.starts_with("crowdcloud") && told.contains(&format!("details=\"{code}\"")), "{told}: {answer:?}");
    code
}

/// A figure of a record, which is a text where it may be large.
fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

/// Waits for the local node's VM lane.
pub(crate) fn needs_vm_lane(user: &Cli) {
    assert!(has_vm_lane(user), "this machine has no VM lane: {}", user.json("nodes list"));
}

/// Waits until the local node knows whether it has the VM lane.
fn has_vm_lane(user: &Cli) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let node = user.json("nodes list")["items"][0].clone();
        match node["vm"]["state"].as_str() {
            Some("ready") => {
                assert!(node["vm"]["turns_per_ms"].as_u64().unwrap() > 0, "{node}");
                assert!(["kvm", "tcg"].contains(&node["vm"]["accelerator"].as_str().unwrap()), "{node}");
                assert_eq!(node["lanes"], serde_json::json!(["wasm", "vm"]));
                return true;
            }
            Some("missing") => return false,
            _ => assert!(Instant::now() < deadline, "the VM lane is still starting: {node}"),
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// A static program from one file of Rust.
fn program(user: &Cli, name: &str, source: &str) {
    std::fs::copy(tests::compiled(source), user.work().join(name)).unwrap();
}

/// The settled record of a function's run of this path.
pub(crate) fn settled(user: &Cli, function: &str, path: &str) -> serde_json::Value {
    let mut shown = serde_json::Value::Null;
    wait_until("the run is settled", Duration::from_secs(20), || {
        let runs = user.json(&format!("invocations list {function}"))["items"].clone();
        let of_path = |run: &&serde_json::Value| run["path"] == path;
        let Some(run) = runs.as_array().unwrap().iter().find(of_path).cloned() else { return false };
        shown = user.json(&format!("invocations show {}", run["run"].as_str().unwrap()));
        shown["settled"] == true
    });
    shown
}

/// All processes of QEMU whose machine's folder is in this data folder.
fn machines(data: &Path) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        folder.starts_with(data) && name.starts_with("qemu")
    })
    .collect()
}

const ECHO: &str = r#"
use std::io::{Read, Write};
fn main() {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).unwrap();
    let path = std::env::var("PATH_INFO").unwrap();
    eprintln!("a line for the log");
    if path == "/burn" {
        let mut pages = vec![1_u8; 50 << 20];
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while start.elapsed().as_millis() < 1000 {
            for page in pages.iter_mut().step_by(4096) { *page = page.wrapping_add(1); sum += u64::from(*page); }
        }
        println!("{sum}");
        return;
    }
    print!("{} {} COLOUR={} ", std::env::var("REQUEST_METHOD").unwrap(), path, std::env::var("COLOUR").unwrap_or_default());
    std::io::stdout().write_all(&body).unwrap();
}
"#;

/// Machines of one size, which share its template.
#[test]
fn executables_answer_or_fail_and_harm_nobody() {
    let platform = Platform::start_with(&EMBEDDED);
    let steps = steps![
        an_executable_answers_at_its_url_like_any_other,
        a_server_stays_warm_between_requests_and_says_when_it_never_listens,
        what_goes_wrong_in_a_machine_is_said_and_stays_there,
        faults::each_misdeed_has_its_status_and_harms_nobody,
        isolation::a_warm_server_serves_one_account_alone,
        servers::a_job_with_its_own_memory_gets_a_machine_of_that_size,
        servers::f12_f13_a_server_may_close_its_connections_and_speak_http_1_0,
    ];
    run_steps(&platform, &steps);
}

/// All with 256 MiB, so that each base has one template.
#[test]
fn images_and_programs_on_bases_run_or_are_refused() {
    let platform = Platform::start_with(&EMBEDDED);
    let steps = steps![
        bad_images::a_bad_image_is_refused_and_nothing_of_it_stays,
        bad_images::f14_devices_are_left_out_which_is_said_and_links_stay_inside,
        a_script_and_a_handler_run_on_their_bases,
        later_runs_on_a_base_find_its_files_in_memory,
        examples::a_tool_of_debians_packages_draws_a_sound,
    ];
    run_steps(&platform, &steps);
}

#[test]
fn two_cpus_and_webassembly_in_machines() {
    let platform = Platform::start_with(&EMBEDDED);
    let steps = steps![
        an_oci_archive_runs_and_a_broken_one_is_refused_at_the_deploy,
        examples::a_function_keeps_two_cpus_busy,
        metering::a_run_is_recorded_within_ten_percent,
        vm_wasm::what_the_wasm_lane_cannot_grant_runs_in_a_machine_and_says_why,
        vm_wasm::a_component_answers_logs_and_fails_alike_in_both_lanes,
    ];
    run_steps(&platform, &steps);
}

fn an_executable_answers_at_its_url_like_any_other(platform: &Platform) {
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    // A static executable: recognised by its content.
    program(&ada, "echo", ECHO);
    let deployed = ada.json("deploy echo --name native --memory 64MiB --timeout 20s --env COLOUR=green");
    assert_eq!(deployed["version"], 1);
    // What was found and decided is said at once, and kept.
    assert_eq!((&deployed["lane"], &deployed["lane_reason"]), (&"vm".into(), &"image".into()), "{deployed}");
    assert!(deployed["notes"][0].as_str().unwrap().contains(" is started in "), "{deployed}");
    assert_eq!(ada.json("versions show native v1")["notes"], deployed["notes"]);
    assert!(ada.ok("versions show native v1").contains("\nnote "), "people see it, too");
    let key = ada.token();
    let answer = send("POST", &format!("{}/f/ada/native/a/b?x=1", platform.url), Some(&key), "", b"hello");
    assert_eq!((answer.status, plain(&answer)), (200, b"POST /a/b COLOUR=green hello".to_vec()), "{answer:?}");
    let record = settled(&ada, "native", "/a/b");
    assert_eq!((&record["lane"], &record["outcome"]), (&"vm".into(), &"succeeded".into()), "{record}");
    wait_until("its log has come", Duration::from_secs(10), || ada.ok("logs native").contains("a line for the log"));
    let version = ada.json("versions show native v1");
    assert_eq!((&version["runs_in"], &version["lane_reason"]), (&"vm".into(), &"image".into()), "{version}");
    assert_eq!((&version["format"], &version["kind"]), (&"executable".into(), &"command".into()), "{version}");

    // What it burns is what is recorded.
    assert_eq!(ada.run("invoke native /burn").status, 0);
    let usage = settled(&ada, "native", "/burn")["usage"].clone();
    let number = |name: &str| usage[name].as_u64().or_else(|| usage[name].as_str()?.parse().ok()).unwrap();
    assert!((800_000..3_000_000).contains(&number("cpu_us")), "{usage}");
    assert!((50 << 20..64 << 20).contains(&number("memory_peak")), "{usage}");
}

fn a_script_and_a_handler_run_on_their_bases(platform: &Platform) {
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    // A script of the shell, and one of Python with numpy.
    let script = "#!/bin/sh\necho \"$REQUEST_METHOD from $(id -u)\"; tr a-z A-Z\n";
    std::fs::write(ada.work().join("script"), script).unwrap();
    ada.ok("deploy script --name script --memory 256MiB --timeout 30s");
    assert_eq!(ada.ok("invoke script -d loud"), "POST from 1000\nLOUD");
    assert_eq!(ada.json("versions show script v1")["format"], "script on shell");
    ada.ok(&format!("deploy {} --timeout 60s", examples().join("matrix").display()));
    let picture = get(&format!("{}/f/ada/matrix?size=40", platform.url), Some(&ada.token()));
    assert_eq!((picture.status, picture.header("content-type")), (200, Some("image/png")), "{picture:?}");
    assert!(plain(&picture).starts_with(b"\x89PNG"));
    // A handler without a first line needs `--base`.
    std::fs::write(ada.work().join("sum.py"), "import sys, numpy\nprint(numpy.sum([int(n) for n in sys.stdin]))\n")
        .unwrap();
    ada.ok("deploy sum.py --name sum --base python --memory 256MiB --timeout 60s");
    assert_eq!(ada.ok("invoke sum -d '40\n2'"), "42");
}

fn an_oci_archive_runs_and_a_broken_one_is_refused_at_the_deploy(platform: &Platform) {
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    program(&ada, "echo", ECHO);
    let folder = ada.work().join("oci");
    std::fs::create_dir_all(&folder).unwrap();
    let image = oci_archive(&folder, "[\"/bin/echo\"]", &[("bin/echo", &ada.work().join("echo"))]);
    let flags = "--cpus 2 --memory 256MiB --timeout 60s --lane vm";
    ada.ok(&format!("deploy {image} --name thumbs {flags}"));
    assert_eq!(ada.ok("invoke thumbs /x -d body"), "POST /x COLOUR= body");
    let version = ada.json("versions show thumbs v1");
    assert_eq!((&version["format"], &version["lane_reason"]), (&"OCI image".into(), &"asked".into()), "{version}");

    // The same files without an image around them need a command.
    let files = folder.join("files.tar");
    Command::new("tar").arg("-C").arg(folder.join("root")).arg("-cf").arg(&files).arg(".").status().unwrap();
    let refused = ada.fails(&format!("deploy {} --name files", files.display()), 2, "no_entry_point");
    assert!(refused.contains("neither an entrypoint nor a command"), "{refused}");
    ada.ok(&format!("deploy {} --name files --command /bin/echo {flags}", files.display()));
    assert_eq!(ada.ok("invoke files /y"), "GET /y COLOUR= ");

    // What cannot run is refused by name.
    let missing = oci_archive(&folder, "[\"/bin/nothing\"]", &[("bin/echo", &ada.work().join("echo"))]);
    ada.fails(&format!("deploy {missing} --name broken"), 2, "no_entry_point");
    let whole = std::fs::read(&image).unwrap();
    std::fs::write(folder.join("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    ada.fails(&format!("deploy {} --name broken", folder.join("cut.tar").display()), 2, "image_invalid");
    std::fs::write(folder.join("words"), "just some words").unwrap();
    ada.fails(&format!("deploy {} --name broken", folder.join("words").display()), 2, "image_invalid");
    let mut foreign = std::fs::read(ada.work().join("echo")).unwrap();
    foreign[18] = 183; // AArch64, where an ELF names its machine
    std::fs::write(folder.join("foreign"), foreign).unwrap();
    ada.fails(&format!("deploy {} --name broken", folder.join("foreign").display()), 2, "wrong_architecture");
    let greedy = ada.fails(&format!("deploy {image} --name broken --cpus 64"), 2, "exceeds_nodes");
    assert!(greedy.contains("at most"), "{greedy}");
}

fn a_server_stays_warm_between_requests_and_says_when_it_never_listens(platform: &Platform) {
    let bea = platform.user("bea");
    needs_vm_lane(&bea);
    bea.ok(&format!("deploy {}", examples().join("native-server").display()));
    for count in 1..=3 {
        let answer = bea.ok("invoke native-server /hi -d four");
        assert_eq!(answer, format!("request {count} of this server: POST /hi HTTP/1.1 with 4 bytes"));
    }
    let record = settled(&bea, "native-server", "/hi");
    assert_eq!((&record["lane"], &record["outcome"]), (&"vm".into(), &"succeeded".into()), "{record}");
    wait_until("its log has come", Duration::from_secs(10), || bea.ok("logs native-server").contains("listening on"));
    let version = bea.json("versions show native-server v1");
    assert_eq!((&version["kind"], &version["lane_reason"]), (&"server".into(), &"server".into()), "{version}");

    program(&bea, "deaf", "fn main() { std::thread::sleep(std::time::Duration::from_secs(60)) }");
    bea.ok("deploy deaf --name deaf --kind server --memory 64MiB --timeout 8s");
    let said = bea.fails("invoke deaf", 1, "never_listened");
    assert!(said.contains("nothing listened on port 8080"), "{said}");
    program(&bea, "gone", "fn main() { eprintln!(\"no configuration\"); std::process::exit(3) }");
    bea.ok("deploy gone --name gone --kind server --memory 64MiB --timeout 20s");
    let said = bea.fails("invoke gone", 1, "never_listened");
    assert!(said.contains("status 3 before it listened on port 8080"), "{said}");
}

const MISDEEDS: &str = r#"
fn main() {
    match std::env::var("PATH_INFO").unwrap().as_str() {
        "/exit" => std::process::exit(7),
        "/abort" => std::process::abort(),
        "/hog" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop { all.push(vec![1; 8 << 20]); }
        }
        "/sleep" => std::thread::sleep(std::time::Duration::from_secs(60)),
        "/endless" => loop { println!("{}", "x".repeat(8000)); },
        "/forks" => {
            let mut children = Vec::new();
            for _ in 0..1000 {
                match std::process::Command::new("/proc/self/exe").env("PATH_INFO", "/nap").spawn() {
                    Ok(child) => children.push(child),
                    Err(_) => { println!("stopped"); std::process::exit(0) }
                }
            }
        }
        "/nap" => std::thread::sleep(std::time::Duration::from_secs(30)),
        "/disk" => {
            let mut file = std::fs::File::create("/tmp/full").unwrap();
            let error = loop {
                if let Err(error) = std::io::Write::write_all(&mut file, &[1; 1 << 20]) { break error; }
            };
            println!("{error}");
        }
        "/mark" => {
            let seen = std::fs::read_to_string("/tmp/mark").unwrap_or_else(|_| "nothing".to_owned());
            std::fs::write("/tmp/mark", "a secret").unwrap();
            let mut random = [0; 16];
            std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
            println!("{seen} {random:?}");
        }
        "/net" => println!("{:?}", std::net::TcpStream::connect("1.1.1.1:80").map(|_| ())),
        _ => println!("fine"),
    }
}
"#;

fn what_goes_wrong_in_a_machine_is_said_and_stays_there(platform: &Platform) {
    let cleo = platform.user("cleo");
    needs_vm_lane(&cleo);
    program(&cleo, "misdeeds", MISDEEDS);
    cleo.ok("deploy misdeeds --name misdeeds --memory 64MiB --timeout 60s --body 1MiB");
    assert_eq!(cleo.ok("invoke misdeeds"), "fine");
    assert!(cleo.fails("invoke misdeeds /exit", 1, "function_exit").contains("exit status 7"));
    assert!(cleo.fails("invoke misdeeds /abort", 1, "function_exit").contains("signal 6"));
    cleo.fails("invoke misdeeds /hog", 1, "out_of_memory");
    let memory = settled(&cleo, "misdeeds", "/hog");
    assert_eq!((&memory["code"], &memory["lane"]), (&"out_of_memory".into(), &"vm".into()), "{memory}");
    // It streams, so that it is cut after it has begun.
    assert_eq!(cleo.run("invoke misdeeds /endless").status, 1);
    assert_eq!(settled(&cleo, "misdeeds", "/endless")["code"], "response_too_large");
    assert_eq!(cleo.ok("invoke misdeeds /forks"), "stopped");
    let disk = cleo.run("invoke misdeeds /disk");
    let full = disk.text().contains("No space left") || disk.stderr.contains("out_of_memory");
    assert!(full, "{disk:?}");
    let network = cleo.ok("invoke misdeeds /net");
    assert!(network.starts_with("Err("), "{network}");

    // Nothing of one run is visible to the next.
    let runs: Vec<String> = (0..5).map(|_| cleo.ok("invoke misdeeds /mark")).collect();
    assert!(runs.iter().all(|run| run.starts_with("nothing ")), "{runs:?}");
    let distinct: std::collections::BTreeSet<&String> = runs.iter().collect();
    assert_eq!(distinct.len(), runs.len(), "two clones had the same random numbers: {runs:?}");

    // A deadline kills, and no machine stays.
    cleo.ok("deploy misdeeds --name late --memory 64MiB --timeout 2s");
    let started = Instant::now();
    cleo.fails("invoke late /sleep", 8, "timed_out");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let late = settled(&cleo, "late", "/sleep");
    assert_eq!((&late["outcome"], &late["status"]), (&"timed_out".into(), &504.into()), "{late}");
}

const COLD: &str = r#"
def read():
    return sum(int(open(f"/sys/block/{drive}/stat").read().split()[2]) for drive in ("vda", "vdb")) * 512
before = read()
import numpy
print(read() - before)
"#;

fn later_runs_on_a_base_find_its_files_in_memory(platform: &Platform) {
    let bea = platform.user("bea");
    needs_vm_lane(&bea);
    std::fs::write(bea.work().join("cold.py"), COLD).unwrap();
    bea.ok("deploy cold.py --name cold --base python --memory 256MiB --timeout 120s");
    // The first ones may come before the base's template.
    wait_until("numpy is in memory", Duration::from_secs(180), || {
        bea.ok("invoke cold").trim().parse::<u64>().unwrap() < 1 << 20
    });
}
