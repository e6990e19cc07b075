//! Jobs and calls go on while lenders join, are slow, pause, are stopped, killed and cut off, and leave, and while the core's
//! processes die: no job is lost, none is settled twice, and calls fail only around a fault.
//!
//! `CROWDCLOUD_LENT_JOBS` and `CROWDCLOUD_LENT_CALLS` (in a second) make it longer: 2000 and 100 are the long form, in which
//! what is stopped stands still for 20 s.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Host, alive, signal, wait_until};

use super::{Ground, Machine};
use crate::faults::{End, Ended, load};
use crate::job_faults::{Patient, Submitting, each_ended_once, number};

const JOBS: usize = 300;
const CALLS: usize = 20;
/// After each fault a call is answered within so long.
const GOES_ON_WITHIN: Duration = Duration::from_secs(15);
/// A node or a way that comes back is used again by then: gateways have new certificates, which machines ask for.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// What is stopped, slow or cut off stays so.
const LASTS: Duration = Duration::from_secs(3);
const LASTS_LONG: Duration = Duration::from_secs(20);
const RATE: &str = "2mbit";
const LATE: Duration = Duration::from_millis(150);
/// The last calls end.
const LAST_CALLS: Duration = Duration::from_secs(6);
/// Of all calls while only lenders' machines fail, so many may: those in flight there.
const FAILED_MAX: f64 = 0.05;

struct Journey<'a> {
    ground: &'a Ground,
    lasts: Duration,
    ended: Arc<Mutex<Vec<Ended>>>,
}

impl Journey<'_> {
    /// Waits until a call that begins now is answered.
    fn goes_on(&self, after: &str) {
        let at = Instant::now();
        wait_until(&format!("a call is answered after {after}"), GOES_ON_WITHIN, || {
            let ended = self.ended.lock().unwrap();
            ended.iter().any(|one| one.began > at && one.end == End::Success)
        });
        eprintln!("{after}: calls go on after {:?}", at.elapsed());
    }

    fn back(&self, machine: &Machine, after: &str) {
        wait_until(&format!("{} is back after {after}: {}", machine.name, machine.said()), BACK_WITHIN, || {
            self.ground.is_online(&machine.name)
        });
    }

    /// Kills the process that works, or stops it; the machine comes back by itself.
    fn worker(&self, machine: &Machine, which: Signal) {
        let worker = machine.worker();
        signal(worker, which);
        if which == Signal::STOP {
            std::thread::sleep(self.lasts);
            self.goes_on("a worker was stopped");
            signal(worker, Signal::CONT);
        } else {
            wait_until("the worker has gone", GOES_ON_WITHIN, || !alive(worker));
        }
        self.goes_on("a worker failed");
        self.back(machine, "its worker failed");
    }

    /// The same with the process that holds the keys; whoever lends starts it again once it is dead.
    fn supervisor(&self, host: &Host, mut machine: Machine, which: Signal) -> Machine {
        signal(machine.pid(), which);
        if which == Signal::STOP {
            std::thread::sleep(self.lasts);
            signal(machine.pid(), Signal::CONT);
        } else {
            machine.ends(GOES_ON_WITHIN);
            let name = machine.name.clone();
            drop(machine);
            machine = Machine::start(host, &name, self.ground.lend(&name, &[]));
        }
        self.goes_on("a supervisor failed");
        self.back(&machine, "its supervisor failed");
        machine
    }

    /// 2 Mbit/s and 150 ms each way, on the way through the proxy.
    fn slow(&self, is_slow: bool) {
        let rate = is_slow.then_some(RATE);
        self.ground.office.slow("wan", rate);
        self.ground.proxy_host.slow("lan", rate);
        self.ground.proxy.delay(if is_slow { LATE } else { Duration::ZERO });
    }

    /// A process of the core's dies.
    fn core(&self, name: &str) {
        let pid = self.ground.platform.pid_of(name);
        signal(pid, Signal::KILL);
        wait_until(&format!("{name} is started again"), GOES_ON_WITHIN, || self.ground.platform.pid_of(name) != pid);
    }

    /// `crowdcloud lend leave`, on the machine.
    fn leave(&self, host: &Host, mut machine: Machine) {
        let data = machine.data.clone();
        let mut command = Command::new(tests::program());
        command.args(["lend", "leave", "--yes", "--data"]).arg(&data).stdin(Stdio::null());
        for variable in super::OF_PROXIES {
            command.env_remove(variable);
        }
        let left = host.within(move || command.output()).unwrap();
        assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
        assert!(machine.ends(GOES_ON_WITHIN).success() && !data.exists());
        assert!(super::node(&self.ground.ada, &machine.name).is_none());
    }
}

#[test]
fn needs_namespaces_no_job_is_lost_while_lenders_come_and_go() {
    let (jobs, rate) = (number("CROWDCLOUD_LENT_JOBS", JOBS), number("CROWDCLOUD_LENT_CALLS", CALLS));
    let ground = Ground::start(&["--separate", "--executors", "1"]);
    let mut attic = ground.join(&ground.attic, "attic", &[]);
    let cellar = ground.join(&ground.cellar, "cellar", &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = Patient::new(&ground.platform.url, &ground.key);
    let ended = Arc::new(Mutex::new(Vec::new()));
    let lasts = if jobs > JOBS { LASTS_LONG } else { LASTS };
    let journey = Journey { ground: &ground, lasts, ended: Arc::clone(&ended) };
    let submitting = Submitting::start(&runtime, &client, jobs);
    let url = format!("{}/f/ada/hello", ground.platform.url);
    let calling = runtime.spawn(load(url, ground.key.clone(), u32::try_from(rate).unwrap(), Arc::clone(&ended)));

    let office = ground.join_by_proxy("office");
    journey.goes_on("a machine has joined");
    journey.slow(true);
    std::thread::sleep(lasts);
    journey.goes_on("a machine was slow");
    ground.ada.ok("nodes pause cellar");
    journey.goes_on("a machine was paused");
    ground.ada.ok("nodes resume cellar");
    journey.worker(&attic, Signal::KILL);
    journey.worker(&cellar, Signal::STOP);
    attic = journey.supervisor(&ground.attic, attic, Signal::KILL);
    let cellar = journey.supervisor(&ground.cellar, cellar, Signal::STOP);
    ground.core.plug("to1", false);
    std::thread::sleep(lasts);
    journey.goes_on("a machine was cut off");
    ground.core.plug("to1", true);
    journey.back(&attic, "it was cut off");
    ground.proxy.cut();
    journey.goes_on("a proxy has cut its tunnels");
    journey.slow(false);
    let only_lenders_failed = ended.lock().unwrap().len();

    // A control plane alone is not missed by calls; the others are, for a while.
    for name in ["control-plane", "gateway-1", "nats-server"] {
        journey.core(name);
        journey.goes_on(&format!("{name} has died"));
    }
    for machine in [&attic, &cellar, &office] {
        journey.back(machine, "the core's processes died");
    }
    journey.leave(&ground.attic, attic);
    journey.goes_on("a machine has left");

    let wanted = submitting.end(&runtime);
    calling.abort();
    let called_at = Instant::now();
    each_ended_once(&runtime, &client, wanted);
    std::thread::sleep(LAST_CALLS.saturating_sub(called_at.elapsed()));
    let ended = ended.lock().unwrap();
    let failed = |ended: &[Ended]| ended.iter().filter(|one| one.end != End::Success).count();
    eprintln!("{} calls, {} of them failed", ended.len(), failed(&ended));
    let wrong = ended.iter().find(|one| matches!(one.end, End::Wrong(_)));
    assert!(wrong.is_none(), "neither success nor a catalogued error: {wrong:?}");
    let early = &ended[..only_lenders_failed];
    let share = failed(early) as f64 / early.len() as f64;
    let why = || early.iter().filter(|one| one.end != End::Success).take(5).collect::<Vec<_>>();
    assert!(share <= FAILED_MAX, "{share} of {} calls failed while only lenders did: {:?}", early.len(), why());
    cellar.stop();
    office.stop();
}
