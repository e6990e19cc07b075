//! WebAssembly in a real machine: nobody can tell the lane from the answers, logs and errors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use microvm::{Disk, Host, Template};
use protocol::{ByteSize, Code, Digest, Limits, Millis, Problem, VersionId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::convert::{Conversion, Converted, Inputs};
use super::ports::Ports;
use super::tools::{Missing, Tools};
use super::version::{About, Kept, MACHINES_BEFORE_OWN, OWN_KEPT_MAX, Version};
use super::versions::shape_of;
use super::wasm;
use crate::admission::Admission;
use crate::egress::EgressRules;
use crate::run::Verdict;
use crate::testing::{Bench, http_guest, wat_guest};

#[path = "../../../microvm/tests/support/step.rs"]
mod step;
use self::step::steps;

/// What machines are made of here.
fn tools() -> Tools {
    let folder = std::env::var_os("CROWDCLOUD_VM_TOOLS").map_or_else(componentize::cache_dir, Into::into);
    let found = Tools::find_in(&folder, None, None).and_then(|tools| match tools.runner {
        Some(_) => Ok(tools),
        None => Err(Missing::Yet(format!("no wasm-guest in {}", folder.display()))),
    });
    found.unwrap_or_else(|why| panic!("no WebAssembly in a machine: {why}"))
}

fn limits() -> Limits {
    Limits { timeout: Millis::seconds(60), cpus: 2, memory: ByteSize::mib(64), ..Limits::default() }
}

/// One host, on which several programs get their machines.
struct Ground {
    tools: Tools,
    _host: Host,
    /// All limits here are of one size.
    template: Arc<Template>,
    folder: tempfile::TempDir,
}

impl Ground {
    async fn open() -> Arc<Self> {
        let tools = tools();
        let folder = tempfile::tempdir().unwrap();
        let config = microvm::Config {
            qemu: tools.qemu.clone(),
            kernel: tools.kernel.clone(),
            agent: tools.agent.clone(),
            work: folder.path().join("machines"),
            qemu_tree: None,
            first_uid: microvm::Config::FIRST_UID,
        };
        let host = Host::open(config).await.unwrap();
        let template = Arc::new(host.template(shape_of(&limits())).await.unwrap());
        Arc::new(Self { tools, _host: host, template, folder })
    }

    fn convert(&self, artifact: &[u8], runner: bool, command: &[&str]) -> Result<Converted, Problem> {
        let path = self.folder.path().join("artifact");
        std::fs::write(&path, artifact).unwrap();
        let conversion = Conversion {
            artifact: path,
            base: None,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            runner: self.tools.runner.clone().filter(|_| runner),
            bases: self.tools.bases.clone(),
        };
        conversion.run(Inputs::open(&conversion).unwrap(), self.folder.path())
    }

    async fn bench(self: &Arc<Self>, artifact: &[u8], limits: Limits, env: &[(&str, &str)]) -> Bench {
        self.bench_with(artifact, limits, env, EgressRules::default()).await
    }

    async fn bench_with(
        self: &Arc<Self>,
        artifact: &[u8],
        limits: Limits,
        env: &[(&str, &str)],
        egress: EgressRules,
    ) -> Bench {
        let version = self.version(artifact, limits, env, egress, &Arc::new(Semaphore::new(512))).await;
        Bench::in_machine(version, limits, Arc::clone(self))
    }

    async fn version(
        &self,
        artifact: &[u8],
        limits: Limits,
        env: &[(&str, &str)],
        egress: EgressRules,
        room: &Arc<Semaphore>,
    ) -> Version {
        let Converted { image, hosted, .. } = self.convert(artifact, true, &[]).unwrap();
        let format = hosted.unwrap().format;
        let env: BTreeMap<_, _> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let workload = wasm::workload(&image.config, format, &limits, env, &egress).unwrap();
        assert_eq!(shape_of(&limits), shape_of(&self::limits()));
        let template = Arc::clone(&self.template);
        let disk = Disk::open(&image.rootfs.path).unwrap();
        let about = About {
            artifact: Digest::of(artifact),
            kind: format.kind(),
            hosted: true,
            for_runs: true,
            format: format.describe().to_owned(),
            notes: Vec::new(),
            size: image.rootfs.size,
            convert_ms: 0,
            egress: Arc::new(egress),
            ports: Ports::of(&image.config),
            fetched: true,
        };
        let admission = Admission::new(8, ByteSize::mib(4096), fabric::shares::TenantShare::WHOLE);
        Version::new(about, workload, ByteSize::mib(160), template, disk, admission, Arc::clone(room))
    }
}

/// Everything of an answer that a caller sees, and what is kept of its run.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: Result<Bytes, String>,
    verdict: Verdict,
    /// By their text: the two streams are apart in a machine.
    log: Vec<String>,
}

async fn seen(bench: &Bench, target: &str, body: &'static str) -> Seen {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request = http::Request::builder().method(method).uri(target);
    if !body.is_empty() {
        request = request.header(http::header::CONTENT_LENGTH, body.len());
    }
    let answered = bench.send(request.body(fabric::full(Bytes::from_static(body.as_bytes()))).unwrap()).await;
    let status = answered.status();
    let headers = answered.response.headers().iter();
    // How it travels is not the function's.
    let headers = headers.filter(|(name, _)| *name != http::header::TRANSFER_ENCODING);
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    let (body, ended) = answered.read().await;
    let mut log = ended.log;
    log.sort();
    Seen { status, headers, body: body.map_err(|error| error.to_string()), verdict: ended.verdict, log }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webassembly_in_a_machine_is_as_in_the_other_lane() {
    let ground = &Ground::open().await;
    steps!(
        ground;
        a_handler_answers_and_fails_as_in_the_other_lane,
        a_handler_calls_what_its_version_names_and_nothing_else_as_in_the_other_lane,
        a_run_carries_as_much_as_it_may_and_fails_with_more_as_in_the_other_lane,
        commands_read_stdin_and_the_environment_and_end_as_in_the_other_lane,
        a_loop_ends_with_its_machine_and_the_next_run_has_another,
        each_run_in_a_kept_machine_has_its_own_time,
        what_cannot_be_packed_is_told,
        a_version_that_is_called_again_gets_a_template_of_its_own_while_there_is_room,
    );
}

async fn a_handler_answers_and_fails_as_in_the_other_lane(ground: &Arc<Ground>) {
    let (guest, env) = (http_guest(), [("COLOUR", "green")]);
    let machine = ground.bench(&guest, limits(), &env).await;
    let mut lane = Bench::new(&guest).with_surroundings(&env, EgressRules::default());
    lane.limits = limits();
    let targets = [
        "/count",
        "/count",
        "/headers",
        "/env?COLOUR",
        "/env?PATH",
        "/env?PORT",
        "/nothing",
        "/error",
        "/trap",
        "/late-trap",
        "/recurse",
        "/eat",
        "/early",
        "/ours",
        "/unknown",
        "/print?lines=20",
        "/sleep?ms=30",
        "/fetch?1.1.1.1:80",
        "/count",
    ];
    for target in targets {
        assert_eq!(seen(&machine, target, "").await, seen(&lane, target, "").await, "{target}");
    }
    for status in ["200", "304"] {
        let target = format!("/announce?status={status}&length=7");
        let head = || http::Request::head(&target).body(fabric::empty()).unwrap();
        for bench in [&machine, &lane] {
            let answered = bench.send(head()).await;
            assert_eq!((answered.status().to_string().as_str(), answered.header("content-length")), (status, "7"));
        }
    }
    let request = http::Request::get("/trailers?announced").header("te", "trailers").body(fabric::empty()).unwrap();
    let whole = machine.send(request).await.response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "7", "trailers leave a machine too");
    assert_eq!(seen(&machine, "/echo", "some text").await, seen(&lane, "/echo", "some text").await);
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    let (body, ended) = machine.post("/echo", large.clone()).await.read().await;
    assert!(body.unwrap() == large, "3 MB come back as they went");
    assert_eq!((ended.usage.bytes_in, ended.usage.bytes_out), (ByteSize(3_000_000), ByteSize(3_000_000)));

    // What it used is measured in the machine: CPU by the agent, memory by the runner.
    let (_, ended) = machine.get("/work?touch=20000000&rounds=20000").await.read().await;
    let peak = ended.usage.memory_peak;
    assert!(peak > ByteSize(20_000_000) && peak < ByteSize::mib(40), "{peak}");
    assert!(ended.usage.cpu_us > 10_000, "{:?}", ended.usage);
}

/// A server on this machine, which says what it was asked.
async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 4096];
            let count = stream.read(&mut asked).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &asked[..count]].concat()).await.unwrap();
        }
    });
    authority
}

async fn a_handler_calls_what_its_version_names_and_nothing_else_as_in_the_other_lane(ground: &Arc<Ground>) {
    let (guest, named) = (http_guest(), upstream().await);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let hosts = [named.clone(), closed.clone(), "unknown.invalid".to_owned()];
    let secure = format!("https://{named}");
    let calls = [
        // Twice: the machine is kept.
        (true, named.as_str(), "200 GET / HTTP/1.1", None),
        (true, &named, "200 GET / HTTP/1.1", None),
        // It says something, and that is not TLS.
        (true, &secure, "TlsProtocolError", None),
        (true, &closed, "ConnectionRefused", Some("takes no connection")),
        (true, "unknown.invalid", "DnsError", Some("not known")),
        (true, "example.com", "HttpRequestDenied", Some("no connection to example.com:80: this version may not")),
        (false, &named, "DestinationIpProhibited", Some("no public address")),
    ];
    let rules = |private_addresses| {
        let mut rules = EgressRules::parse(&hosts);
        rules.private_addresses = private_addresses;
        rules
    };
    for private in [true, false] {
        let machine = ground.bench_with(&guest, limits(), &[], rules(private)).await;
        let mut lane = Bench::new(&guest).with_surroundings(&[], rules(private));
        lane.limits = limits();
        for (_, authority, answer, logged) in calls.iter().filter(|(of, ..)| *of == private) {
            let target = format!("/fetch?{authority}");
            let there = seen(&machine, &target, "").await;
            let text = String::from_utf8(there.body.clone().unwrap().to_vec()).unwrap();
            assert!(text.contains(answer), "{authority}: {text}");
            assert_eq!(there.log.len(), usize::from(logged.is_some()), "{:?}", there.log);
            assert!(there.log.iter().all(|line| line.contains(logged.unwrap_or_default())), "{:?}", there.log);
            assert_eq!(there, seen(&lane, &target, "").await, "{authority}");
        }
        // How it goes out, the guest does not see.
        let env = seen(&machine, "/env?HTTP_PROXY", "").await;
        assert_eq!(env.body, Ok(Bytes::new()));
    }
}

async fn a_run_carries_as_much_as_it_may_and_fails_with_more_as_in_the_other_lane(ground: &Arc<Ground>) {
    let (guest, named) = (http_guest(), upstream().await);
    let rules = || {
        let mut rules = EgressRules::parse(std::slice::from_ref(&named));
        rules.private_addresses = true;
        rules
    };
    let target = format!("/fetch?{named}");
    let machine = ground.bench_with(&guest, limits(), &[], rules()).await;
    let mut lane = Bench::new(&guest).with_surroundings(&[], rules());
    lane.limits = limits();
    let mut carried = Vec::new();
    for mut bench in [machine, lane] {
        let (_, ended) = bench.get(&target).await.read().await;
        let whole = ended.usage.egress_bytes;
        carried.push(whole);
        // Twice: the machine is kept, and each run has its own.
        bench.limits.egress_bytes = whole;
        for _ in 0..2 {
            assert!(bench.get(&target).await.text().await.starts_with("200 GET / HTTP/1.1"));
        }
        bench.limits.egress_bytes = ByteSize(whole.0 - 1);
        let answered = bench.get(&target).await;
        assert_eq!(answered.header(protocol::headers::NODE_PROBLEM), Code::EgressLimit.as_str());
        let (_, ended) = answered.read().await;
        let detail = format!("the function's own connections carried more than {}", bench.limits.egress_bytes);
        assert_eq!(ended.verdict, Verdict::failed(Code::EgressLimit, detail));
        assert_eq!(bench.get("/count").await.text().await, "1");
    }
    assert!(carried[0].0 > 80 && carried[0] == carried[1], "the same in both lanes: {carried:?}");
}

async fn commands_read_stdin_and_the_environment_and_end_as_in_the_other_lane(ground: &Arc<Ground>) {
    for (name, body) in [("cat", "some text\n"), ("exit3", "x"), ("env", "x"), ("cat", "")] {
        let guest = wat_guest(name);
        let (machine, mut lane) = (ground.bench(&guest, limits(), &[]).await, Bench::new(&guest));
        lane.limits = limits();
        let target = "/some/path?width=320";
        assert_eq!(seen(&machine, target, body).await, seen(&lane, target, body).await, "{name}");
    }
}

async fn a_loop_ends_with_its_machine_and_the_next_run_has_another(ground: &Arc<Ground>) {
    let short = Limits { timeout: Millis::seconds(8), ..limits() };
    let machine = ground.bench(&http_guest(), short, &[]).await;
    let answered = machine.get("/loop").await;
    assert_eq!(answered.header(protocol::headers::NODE_PROBLEM), Code::TimedOut.as_str());
    let (_, ended) = answered.read().await;
    assert!(ended.after >= Duration::from_secs(8), "{:?}", ended.after);
    assert!(ended.usage.cpu_us > 500_000, "{:?}", ended.usage);
    assert_eq!(machine.get("/count").await.text().await, "1");
}

#[test]
fn machines_are_kept_by_their_version_and_the_limits_that_make_them() {
    let (version, usual) = (VersionId::new(), limits());
    let kept = |limits: Limits| Kept::of(version, &limits);
    for same in [
        Limits { timeout: Millis::seconds(1), ..usual },
        Limits { egress_bytes: ByteSize(1), ..usual },
        Limits { concurrency: 1, ..usual },
    ] {
        assert_eq!(kept(same), kept(usual), "{same:?}");
    }
    // Sizes of machines are few; the function's own memory is bounded in them.
    for other in [
        Limits { memory: ByteSize::mib(512), ..usual },
        Limits { memory: ByteSize(usual.memory.0 + 1), ..usual },
        Limits { cpus: 1, ..usual },
    ] {
        assert_ne!(kept(other), kept(usual), "{other:?}");
    }
    assert_ne!(Kept::of(VersionId::new(), &usual), kept(usual));
}

async fn each_run_in_a_kept_machine_has_its_own_time(ground: &Arc<Ground>) {
    let short = Limits { timeout: Millis(500), ..limits() };
    let mut machine = ground.bench(&http_guest(), short, &[]).await;
    machine.limits.timeout = Millis::seconds(60);
    for _ in 0..2 {
        let (_, ended) = machine.get("/sleep?ms=1500").await.read().await;
        assert_eq!(ended.verdict, Verdict::succeeded());
    }
}

async fn what_cannot_be_packed_is_told(ground: &Arc<Ground>) {
    let code = |artifact: &[u8], runner, command: &[&str]| ground.convert(artifact, runner, command).unwrap_err().code;
    assert_eq!(code(b"\0asm\x01\0\0\0\xff\xff", true, &[]), Code::InvalidWasm);
    let import = wat::parse_str(r#"(module (import "env" "abort" (func)) (func (export "_start")))"#).unwrap();
    assert_eq!(code(&import, true, &[]), Code::UnknownImport);
    assert_eq!(code(&wat_guest("cat"), true, &["/bin/sh"]), Code::InvalidField);
    assert_eq!(code(&wat_guest("cat"), false, &[]), Code::NodeFailed, "a node without the runner");
}

async fn a_version_that_is_called_again_gets_a_template_of_its_own_while_there_is_room(ground: &Arc<Ground>) {
    let room = Arc::new(Semaphore::new(512));
    let version = ground.version(&wat_guest("cat"), limits(), &[], EgressRules::default(), &room).await;
    let version = Arc::new(version);
    for _ in 0..MACHINES_BEFORE_OWN {
        assert!(!version.has_own());
        drop(version.machine().await.unwrap());
    }
    let begin = std::time::Instant::now();
    while !version.has_own() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no template of its own");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(room.available_permits() < 512);
    // It counts as free, because it can be let go.
    assert_eq!(version.admission().memory_free(), ByteSize::mib(4096));
    let machine = version.machine().await.unwrap();
    let mut run = machine.start(version.workload.clone(), Duration::from_secs(60)).await.unwrap();
    assert!(run.connect().await.is_some());

    version.forget_own(OWN_KEPT_MAX);
    assert!(version.has_own());
    version.forget_own(Duration::ZERO);
    assert!(!version.has_own());
    assert_eq!(room.available_permits(), 512);
    let taken = Arc::clone(&room).try_acquire_many_owned(512).unwrap();
    version.make_own().await.unwrap();
    assert!(!version.has_own());
    drop(taken);
    // Runs have all of the node's memory.
    let share = version.admission().admit(protocol::AccountId::new(), ByteSize::mib(4096)).unwrap();
    version.make_own().await.unwrap();
    assert!(!version.has_own());
    drop(share);
    version.make_own().await.unwrap();
    assert!(version.has_own() && version.forget_own(Duration::ZERO).0 > 0);
}
