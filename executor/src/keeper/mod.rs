//! What the owner of this machine keeps of it, in force: one task looks at clock and machine, listens to the control
//! socket, to signals and to what the platform tells of its owner's wishes, and tells admission, lanes and reports what is
//! lent from then on.
//!
//! ```text
//! control socket --+                        +--> admission: busy, with the reason
//! the platform ----+                        |
//! SIGUSR1, SIGUSR2-+--> keeper: decide -----+--> work: runs are given back
//! ticks -----------+                        +--> threads of guests, caches, egress
//!                                           +--> a report at once
//! ```

mod control;
mod told;
mod work;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fabric::Fabric;
use lending::control::{CapsUsed, Reply, Request, Status};
use lending::document::{self, Document};
use lending::machine::Machine;
use lending::{Caps, Decision, Ended, Lender, Meter, OwnerWatch, Policy, Sample, Seen, Source};
use parking_lot::Mutex;
use protocol::receipt::Usage;
use protocol::{ByteSize, Code, NodeId, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasm_host::Verdict;

pub use self::control::bind as bind_control;
pub(crate) use self::told::{Saying, TOLD_MAX, Told};
pub(crate) use self::work::{Place, Work};
use crate::admission::Admission;
use crate::artifacts::Library;
use crate::config::Config;
use crate::given::CpuTicks;
use crate::sys;
use crate::vm::LaneProbe;
use crate::wasm::Lane;

/// Clock and machine are looked at this often; more often where the owner's own use counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What was counted is written, and disks are looked at, this often.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Requests of the control socket that wait for the keeper.
const ASKED_MAX: usize = 16;

/// A request, and where its reply goes.
type Asked = (Request, oneshot::Sender<Reply>);

/// What is lent of a node.
pub(crate) struct Lent {
    pub(crate) work: Arc<Work>,
    lender: Mutex<Lender>,
    disk_used: AtomicU64,
}

impl Lent {
    /// By the node's settings, and what its owner has said since.
    pub(crate) fn open(config: &Config) -> std::io::Result<Arc<Self>> {
        let folder = folder(config);
        std::fs::create_dir_all(&folder)?;
        let wishes: Document = document::read(&folder.join(WISHES))?;
        // Counts are no wish: those that cannot be read begin anew.
        let meter: Meter = document::read(&folder.join(METER)).unwrap_or_else(|error| {
            tracing::warn!(%error, "what this node lent so far is not known any more");
            Meter::default()
        });
        let policy = Policy {
            quiet_hours: config.quiet_hours.clone(),
            when_owner_active: config.pause_when_owner_active,
            on_battery: config.pause_on_battery,
        };
        let lender = Mutex::new(Lender::new(agreed(config), policy, wishes, meter));
        Ok(Arc::new(Self { work: Arc::default(), lender, disk_used: AtomicU64::new(0) }))
    }

    /// A run has ended.
    pub(crate) fn ended(&self, verdict: &Verdict, usage: &Usage) {
        let traffic = usage.bytes_in.saturating_add(usage.bytes_out).saturating_add(usage.egress_bytes);
        let given_back = verdict.code == Some(Code::NodePaused);
        self.lender.lock().ended(Timestamp::now(), Ended { cpu_us: usage.cpu_us, traffic, given_back });
    }

    /// The caps in force.
    pub(crate) fn caps(&self) -> Caps {
        self.lender.lock().caps()
    }

    /// The revision of what the owner wants from afar, as far as it is known here.
    pub(crate) fn remote_revision(&self) -> u64 {
        self.lender.lock().remote_revision()
    }

    /// As it stands in a report.
    pub(crate) fn report(&self, admission: &Admission) -> protocol::node::Lending {
        let disk_used = ByteSize(self.disk_used.load(Ordering::Relaxed));
        self.lender.lock().report(Timestamp::now(), admission.paused(), disk_used)
    }
}

/// What is told what is lent.
pub(crate) struct Keeper {
    lent: Arc<Lent>,
    admission: Arc<Admission>,
    lane: Arc<Lane>,
    vm: Arc<LaneProbe>,
    library: Arc<Library>,
    report_now: Arc<Notify>,
    fabric: Fabric,
    /// What machine code and images may have of the disk where nothing less is lent.
    disk: (ByteSize, ByteSize),
    machine: Machine,
    ours: Option<Arc<CpuTicks>>,
    started: Instant,
    folder: PathBuf,
    socket: PathBuf,
    control: Option<UnixListener>,
    node: NodeId,
    name: String,
    last: Option<Decision>,
    load: f32,
    busy_time: sys::BusyTime,
}

/// The parts of a node that the keeper tells.
pub(crate) struct Parts {
    pub(crate) lent: Arc<Lent>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) vm: Arc<LaneProbe>,
    pub(crate) library: Arc<Library>,
    pub(crate) report_now: Arc<Notify>,
    pub(crate) fabric: Fabric,
    /// What whoever starts the node has opened and counts for it.
    pub(crate) control: Option<UnixListener>,
    pub(crate) ours: Option<Arc<CpuTicks>>,
}

impl Keeper {
    /// What was said before the last end is in force when this returns.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        let Parts { lent, admission, lane, vm, library, report_now, fabric, control, ours } = parts;
        let mut keeper = Self {
            lent,
            admission,
            lane,
            vm,
            library,
            report_now,
            fabric,
            disk: (config.cache, config.images),
            machine: Machine::below(&config.machine_root),
            ours,
            started: Instant::now(),
            folder: folder(config),
            socket: lending::control::socket(&config.data),
            control,
            node: config.node,
            name: config.name.clone(),
            last: None,
            load: 0.0,
            busy_time: sys::busy_time(),
        };
        keeper.decide(Seen { sample: None, on_battery: keeper.machine.on_battery() });
        keeper
    }

    /// Until it is stopped.
    pub(crate) async fn keep(mut self, mut told: mpsc::Receiver<Told>, stop: CancellationToken) {
        let (ask, mut asked) = mpsc::channel::<Asked>(ASKED_MAX);
        let inherited = self.control.is_some();
        let listening = tokio::spawn(control::listen(self.control.take(), self.socket.clone(), ask));
        let (mut pause, mut resume) = (on(SignalKind::user_defined1()), on(SignalKind::user_defined2()));
        let watches = self.lent.lender.lock().watches_owner();
        let mut look = tokio::time::interval(if watches { OwnerWatch::EVERY } else { LOOK_EVERY });
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut counted = Instant::now();
        self.count().await;
        loop {
            tokio::select! {
                Some((request, reply)) = asked.recv() => {
                    let said = self.serve(request).await;
                    // Who asked may have gone.
                    reply.send(said).ok();
                }
                Some(Told { what, reply }) = told.recv() => {
                    self.heed(what).await;
                    reply.send(self.status().into()).ok();
                }
                () = came(&mut pause) => self.say(|lender| lender.pause(Source::Signal, None)).await,
                () = came(&mut resume) => self.say(Lender::resume).await,
                _ = look.tick() => {
                    let sample = if watches { self.sample().await } else { None };
                    self.decide(Seen { sample, on_battery: self.machine.on_battery() });
                }
                () = stop.cancelled() => break,
            }
            if counted.elapsed() >= COUNT_EVERY {
                counted = Instant::now();
                self.count().await;
            }
        }
        listening.abort();
        self.count().await;
        if !inherited {
            // A socket that nobody listens at would say nothing.
            std::fs::remove_file(&self.socket).ok();
        }
    }

    /// The machine now; none where whoever counts what is ours does not answer in time.
    async fn sample(&self) -> Option<Sample> {
        let ours = match &self.ours {
            None => self.machine.ours(std::process::id()),
            Some(ours) => {
                let ours = Arc::clone(ours);
                let counted = tokio::task::spawn_blocking(move || ours());
                tokio::time::timeout(OwnerWatch::EVERY, counted).await.ok()?.ok()?.ok()?
            }
        };
        self.machine.sample(ours)
    }

    async fn serve(&mut self, request: Request) -> Reply {
        match request {
            Request::Status | Request::Watch => {}
            Request::Pause { lasts } => {
                let until = lasts.map(|lasts| Timestamp::now().plus(lasts.duration()));
                self.say(|lender| lender.pause(Source::Cli, until)).await;
            }
            Request::Resume => self.say(Lender::resume).await,
            Request::Drain => self.say(Lender::drain).await,
            Request::SetCaps { wish } => {
                let allowed = self.lent.lender.lock().wish(wish);
                match allowed {
                    Ok(()) => self.say(|_| ()).await,
                    Err(above) => return Reply::Refused(above.to_string()),
                }
            }
        }
        Reply::Status(Box::new(self.status()))
    }

    /// The platform has said something.
    pub(crate) async fn heed(&mut self, what: Saying) {
        let counts = match what {
            Saying::Status => false,
            Saying::Wish(wish) => self.lent.lender.lock().told(wish),
            Saying::WithHello(known, wish) => self.lent.lender.lock().told_with_hello(known, wish),
        };
        if counts {
            self.say(|_| ()).await;
        }
    }

    /// The owner has said something: it is in force at once, and written.
    async fn say(&mut self, what: impl FnOnce(&mut Lender)) {
        what(&mut self.lent.lender.lock());
        self.decide(Seen { sample: None, on_battery: self.machine.on_battery() });
        let wishes = self.lent.lender.lock().kept().0.clone();
        write(self.folder.join(WISHES), wishes).await;
    }

    fn decide(&mut self, seen: Seen) {
        let decision = self.lent.lender.lock().decide(Timestamp::now(), self.started.elapsed(), seen);
        if self.last == Some(decision) {
            return;
        }
        let last = self.last.replace(decision);
        self.admission.pause(decision.paused);
        // Where only an end has moved, the next report tells.
        let named = |it: &Decision| (it.paused.map(|it| it.reason), it.give_back.map(|it| it.reason), it.caps);
        if last.as_ref().map(named) == Some(named(&decision)) {
            return;
        }
        self.lent.work.give_back(decision.give_back);
        if last.map(|last| last.caps) != Some(decision.caps) {
            self.lend(decision.caps);
        }
        if decision.give_back.is_some()
            && let Some(vm) = self.vm.lane()
        {
            // Machines in which nothing runs are the owner's again, too.
            vm.make_room(ByteSize(u64::MAX));
        }
        let reason = |decision: &Decision| decision.paused.map(|paused| paused.reason);
        if last.as_ref().and_then(reason) != reason(&decision) {
            match decision.paused {
                Some(paused) => tracing::info!(%paused, "this node takes no runs"),
                None if last.is_some() => tracing::info!("this node takes runs again"),
                None => {}
            }
        }
        self.report_now.notify_one();
    }

    fn lend(&self, caps: Caps) {
        self.admission.lend(caps.memory, caps.egress);
        self.lane.lend(usize::try_from(caps.cores).unwrap_or(usize::MAX));
        let (code, images) = split(caps.disk, self.disk);
        self.library.lend_disk(code);
        if let Some(vm) = self.vm.lane() {
            vm.lend_disk(images);
        }
    }

    fn status(&mut self) -> Status {
        let later = sys::busy_time();
        if later.all > self.busy_time.all {
            self.load = sys::load_between(std::mem::replace(&mut self.busy_time, later), later);
        }
        let now = Timestamp::now();
        let (running, runs) = self.lent.work.shown();
        let mut lender = self.lent.lender.lock();
        let caps = lender.caps();
        let traffic = lender.report(now, None, ByteSize(0)).traffic;
        Status {
            node: self.node,
            name: self.name.clone(),
            connected: Some(self.fabric.is_up()),
            paused: lender.reasons(now),
            caps: CapsUsed {
                cores: caps.cores,
                load: self.load,
                memory: caps.memory,
                memory_used: ByteSize(caps.memory.0.saturating_sub(self.admission.memory_free().0)),
                disk: caps.disk,
                disk_used: ByteSize(self.lent.disk_used.load(Ordering::Relaxed)),
                traffic: caps.traffic,
                traffic_used: traffic.map_or(ByteSize(0), |traffic| traffic.used),
                egress: caps.egress,
            },
            quiet_hours: lender.hours().map(ToString::to_string).collect(),
            pauses_when_owner_active: lender.watches_owner(),
            pauses_on_battery: lender.pauses_on_battery(),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            runs,
            today: lender.today(now),
        }
    }

    /// Writes what was counted, and looks how much of the disk is used.
    async fn count(&self) {
        let meter = self.lent.lender.lock().kept().1.clone();
        write(self.folder.join(METER), meter).await;
        let (library, vm) = (Arc::clone(&self.library), self.vm.lane());
        if let Some(vm) = &vm {
            // It may have come only now.
            vm.lend_disk(split(self.lent.caps().disk, self.disk).1);
        }
        let used = tokio::task::spawn_blocking(move || {
            library.disk_used().saturating_add(vm.map_or(ByteSize(0), |vm| vm.disk_used()))
        });
        if let Ok(used) = used.await {
            self.lent.disk_used.store(used.0, Ordering::Relaxed);
        }
    }
}

const WISHES: &str = "wishes.json";
const METER: &str = "meter.json";

fn folder(config: &Config) -> PathBuf {
    config.data.join("lending")
}

/// What the settings lend.
#[must_use]
pub fn agreed(config: &Config) -> Caps {
    let both = config.cache.saturating_add(config.images);
    Caps {
        cores: config.cores.max(1),
        memory: config.memory,
        disk: config.disk.map_or(both, |disk| disk.min(both)),
        traffic: config.traffic,
        egress: !config.no_egress,
    }
}

/// What both have of the disk space lent, in proportion to what they would have of all.
fn split(lent: ByteSize, whole: (ByteSize, ByteSize)) -> (ByteSize, ByteSize) {
    let both = whole.0.saturating_add(whole.1);
    if lent >= both {
        return whole;
    }
    let first = u128::from(whole.0.0) * u128::from(lent.0) / u128::from(both.0.max(1));
    let first = ByteSize(u64::try_from(first).unwrap_or(u64::MAX).min(lent.0));
    (first, ByteSize(lent.0 - first.0))
}

async fn write<T: serde::Serialize + Send + 'static>(path: PathBuf, document: T) {
    let written = tokio::task::spawn_blocking(move || document::write(&path, &document)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "what the owner said or lent cannot be written");
    }
}

fn on(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::warn!(%error, "signals do not pause this node")).ok()
}

/// The signal came; never where none can.
async fn came(signal: &mut Option<Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_space_is_split_in_proportion_and_never_grows() {
        let whole = (ByteSize(400), ByteSize(800));
        assert_eq!(split(ByteSize(1200), whole), whole);
        assert_eq!(split(ByteSize(5000), whole), whole);
        assert_eq!(split(ByteSize(300), whole), (ByteSize(100), ByteSize(200)));
        assert_eq!(split(ByteSize(0), (ByteSize(0), ByteSize(0))), (ByteSize(0), ByteSize(0)));
    }
}
