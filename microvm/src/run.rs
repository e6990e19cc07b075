//! A workload in a clone, from its start to its end.
//!
//! ```text
//! started --ended--> over                     the agent's word, with what was used
//!    | --deadline, stop--> stopping --ended or too late--> over
//!    | --QEMU gone--> over                    a panic, or killed
//!    | --protocol broken--> over
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guest_agent::wire::{self, Contract, Mount, Start, ToGuest, ToHost, Usage};
use qapi::qmp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::LAST_WORDS_WITHIN;
use crate::egress::{self, Egress};
use crate::error::Error;
use crate::life::Step;
use crate::link::{Control, GuestStream, Link};
use crate::machine::Machine;
use crate::monitor::MachineEvent;
use crate::sys;

/// What runs in a guest.
#[derive(Debug, Clone)]
pub struct Workload {
    pub contract: Contract,
    /// The program first; without a slash it is looked for in `PATH`.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
    /// Less than the machine's memory; none: all but what the kernel needs.
    pub memory_bytes: Option<u64>,
    pub pids_max: u32,
    pub files_max: u32,
    /// What it may write to its disk, which is memory; a prepared template has said it already.
    pub overlay_bytes: u64,
    /// Its way out.
    pub egress: Egress,
}

/// How a workload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    /// By a signal.
    Killed(i32),
    OutOfMemory,
    /// There is no such program in the image.
    EntryMissing,
    /// The kernel does not run that program, with the error's number.
    EntryRefused(i32),
    NeverListened,
    /// A server that ended before it listened, with its status.
    ExitedBeforeListening(i32),
    ImageRefused(String),
    /// Asked for by the host.
    Stopped,
    Deadline,
    /// The guest's kernel gave up: what it said.
    Panicked(String),
    /// The QEMU process ended by itself or was killed.
    MachineDied(String),
    /// The guest broke the protocol.
    Misbehaved(String),
    AgentFailed(String),
}

/// The end, and what was used; none where the guest could not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub end: End,
    pub usage: Option<Usage>,
}

/// A workload that runs. Dropping it kills the machine.
pub struct Run {
    /// A command's stdin and stdout.
    pub stdio: Option<GuestStream>,
    /// A server's stdout.
    pub stdout: Option<GuestStream>,
    pub stderr: GuestStream,
    /// Connections of a workload with a way out to its proxy, which whoever takes this is; a workload without has none.
    pub egress: Option<mpsc::Receiver<GuestStream>>,
    /// What QEMU tells: for logs; the truth is in the end.
    pub events: Option<mpsc::Receiver<MachineEvent>>,
    pid: u32,
    link: Link,
    orders: mpsc::Sender<Order>,
    listening: watch::Receiver<bool>,
    ended: watch::Receiver<Option<Ended>>,
}

enum Order {
    Stop,
    Measure(oneshot::Sender<Usage>),
}

impl Run {
    pub(crate) async fn start(
        mut machine: Machine,
        mount: Option<Mount>,
        workload: Workload,
        within: Duration,
    ) -> Result<Self, Error> {
        let link = machine.link.clone();
        let command = workload.contract == Contract::Command;
        let (stdio, stdout) = if command { (Some(link.stdio()), None) } else { (None, Some(link.stdout())) };
        let stderr = link.stderr();
        let events = machine.monitor.events.take();
        let pid = machine.process.pid;
        let mut frames: Vec<ToGuest> = mount.into_iter().map(ToGuest::Mount).collect();
        let egress = match workload.egress {
            Egress::None => None,
            Egress::Proxy | Egress::UntoldProxy => {
                frames.push(ToGuest::Egress(egress::PORT));
                Some(link.accept())
            }
        };
        frames.push(ToGuest::Start(Box::new(start_of(workload))));
        link.send(&frames);
        let deadline = Instant::now() + within;
        machine.monitor.execute(qmp::cont {}).await?;
        let (orders, inbox) = mpsc::channel(4);
        let (now_listening, listening) = watch::channel(false);
        let (now_ended, ended) = watch::channel(None);
        let driver = Driver { machine, command, deadline, inbox, listening: now_listening, measuring: Vec::new() };
        tokio::spawn(async move {
            let end = driver.run().await;
            now_ended.send_replace(Some(end));
        });
        Ok(Self { stdio, stdout, stderr, egress, events, pid, link, orders, listening, ended })
    }

    /// A connection to the server inside, once it listens; none when it ended or has too many.
    pub async fn connect(&mut self) -> Option<GuestStream> {
        self.listening.wait_for(|listening| *listening).await.ok()?;
        self.link.connect()
    }

    /// A connection to a server that listens already.
    pub fn connect_now(&self) -> Option<GuestStream> {
        if *self.listening.borrow() { self.link.connect() } else { None }
    }

    /// The same, for whoever waits for the end meanwhile.
    pub fn connector(&self) -> impl Fn() -> Option<GuestStream> + Send + Sync + use<> {
        let (link, listening) = (self.link.clone(), self.listening.clone());
        move || if *listening.borrow() { link.connect() } else { None }
    }

    /// What has been used so far.
    pub async fn measure(&self) -> Option<Usage> {
        let (answer, usage) = oneshot::channel();
        self.orders.send(Order::Measure(answer)).await.ok()?;
        usage.await.ok()
    }

    /// Ends it.
    pub async fn stop(&self) {
        // One that has ended needs no order.
        let _ = self.orders.send(Order::Stop).await;
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Ended {
        match self.ended.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(ended)) => ended,
            _ => Ended { end: End::MachineDied("its task has gone".to_owned()), usage: None },
        }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// CPU time that its machine's process has used on the host.
    pub fn host_cpu(&self) -> Option<Duration> {
        sys::cpu_time(self.pid)
    }

    /// Memory that its machine shares with nobody, in bytes.
    pub fn private_memory(&self) -> Option<u64> {
        sys::private_memory(self.pid)
    }
}

pub(crate) fn start_of(workload: Workload) -> Start {
    let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
    let env = egress::environment(workload.env, workload.egress);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Start {
        clock_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        entropy: std::array::from_fn(|_| rand::random()),
        contract: workload.contract,
        uid: workload.uid,
        gid: workload.gid,
        groups: workload.groups,
        memory_bytes: workload.memory_bytes.unwrap_or(0),
        pids_max: workload.pids_max,
        files_max: workload.files_max,
        cwd: workload.cwd.into_bytes(),
        argv: bytes(workload.argv),
        env: bytes(env),
    }
}

/// Watches one machine to its end.
struct Driver {
    machine: Machine,
    command: bool,
    deadline: Instant,
    inbox: mpsc::Receiver<Order>,
    listening: watch::Sender<bool>,
    measuring: Vec<oneshot::Sender<Usage>>,
}

impl Driver {
    async fn run(mut self) -> Ended {
        let ended = self.watch().await;
        self.machine.process.kill().await;
        self.machine.link.close();
        if let Err(error) = self.machine.step(Step::End) {
            tracing::debug!(%error, "an end");
        }
        ended
    }

    async fn watch(&mut self) -> Ended {
        let mut stopping: Option<End> = None;
        loop {
            let deadline = self.deadline;
            tokio::select! {
                // What the guest has said counts before what happened to it afterwards.
                biased;
                control = self.machine.control.recv() => match control {
                    Some(Control::Frame(frame)) => {
                        if let Some(ended) = self.take(frame, stopping.as_ref()) {
                            return ended;
                        }
                    }
                    Some(Control::Broken(why)) => return Ended { end: End::Misbehaved(why), usage: None },
                    Some(Control::Closed) | None => return self.died().await,
                },
                order = self.inbox.recv(), if stopping.is_none() => match order {
                    Some(Order::Measure(answer)) => {
                        self.measuring.push(answer);
                        self.machine.link.send(&[ToGuest::Measure]);
                    }
                    Some(Order::Stop) => stopping = Some(self.stop(End::Stopped)),
                    // Nobody wants it any more.
                    None => return Ended { end: End::Stopped, usage: None },
                },
                () = tokio::time::sleep_until(deadline) => match stopping.take() {
                    None => stopping = Some(self.stop(End::Deadline)),
                    Some(end) => return Ended { end, usage: None },
                },
            }
        }
    }

    /// Asks the agent for the end; if it does not answer soon, the machine is killed as it is.
    fn stop(&mut self, end: End) -> End {
        self.machine.link.send(&[ToGuest::Stop]);
        self.deadline = Instant::now() + LAST_WORDS_WITHIN;
        end
    }

    fn take(&mut self, frame: ToHost, stopping: Option<&End>) -> Option<Ended> {
        match frame {
            ToHost::Mounted | ToHost::Started => None,
            ToHost::Listening => {
                self.listening.send_replace(true);
                None
            }
            ToHost::Measured(usage) => {
                if !self.measuring.is_empty() {
                    // Whoever asked may have gone.
                    let _ = self.measuring.remove(0).send(usage);
                }
                None
            }
            ToHost::Ended(end, usage) => {
                let end = stopping.cloned().unwrap_or_else(|| self.meaning(end));
                Some(Ended { end, usage: Some(usage) })
            }
            ToHost::Hello(_) | ToHost::Stream(..) | ToHost::Open(_) => {
                Some(Ended { end: End::Misbehaved("it said hello twice".to_owned()), usage: None })
            }
        }
    }

    fn meaning(&self, end: wire::End) -> End {
        match end {
            wire::End::Exited(status) if !self.command && !*self.listening.borrow() => {
                End::ExitedBeforeListening(status)
            }
            wire::End::Exited(status) => End::Exited(status),
            wire::End::Killed(signal) => End::Killed(signal),
            wire::End::OutOfMemory => End::OutOfMemory,
            wire::End::EntryMissing => End::EntryMissing,
            wire::End::EntryRefused(errno) => End::EntryRefused(errno),
            wire::End::NeverListened => End::NeverListened,
            wire::End::Stopped => End::Stopped,
            wire::End::ImageRefused(why) => End::ImageRefused(why),
            wire::End::AgentFailed(why) => End::AgentFailed(why),
        }
    }

    /// QEMU has gone: by a panic inside, or by somebody outside.
    async fn died(&mut self) -> Ended {
        let status = tokio::time::timeout(LAST_WORDS_WITHIN, self.machine.process.ended()).await;
        let status = status.unwrap_or_else(|_| "it closed the agent's port".to_owned());
        let console = self.machine.process.console.text();
        let panic = console.lines().find_map(|line| line.split_once("Kernel panic - not syncing: "));
        let end = match panic {
            Some((_, why)) => End::Panicked(why.trim().to_owned()),
            None => End::MachineDied(status),
        };
        Ended { end, usage: None }
    }
}
