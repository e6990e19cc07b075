//! The agent's loop: one thread that waits for the host, the workload's pipes, its connections and its end.
//!
//! ```text
//! waiting --mount--> mounted --start--> running --exit--> draining --all output sent--> over
//!    |                  |                  |                                              |
//!    +---- image or program refused -------+--> over      (after a rehearsal: as before) <-+
//! ```

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use guest_agent::wire::{
    Base, Contract, DATA_BYTES_MAX, End, FIRST_EGRESS_STREAM, FIRST_STREAM, Mount, Piece, STDERR, STDIO, STDOUT,
    STREAMS_MAX, Start, ToGuest, ToHost, Usage,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::egress::Egress;
use super::group::Group;
use super::names::Names;
use super::port::Port;
use super::restore::{self, Random};
use super::root;
use super::streams::Stream;
use super::warm;
use super::workload::{Program, Waiting, failure};

/// How often an idle agent looks for orphans that ended.
const TICK: Duration = Duration::from_secs(1);
/// How often a server is asked whether it listens already.
const PROBE: Duration = Duration::from_millis(10);

enum State {
    Waiting(Waiting),
    Mounted(Waiting),
    Running(Running),
    Draining(End, Usage),
    Over,
}

struct Running {
    pid: Pid,
    failure: OwnedFd,
    exit: OwnedFd,
    _orders: File,
    /// When children that had ended were last looked for.
    reaped: Instant,
    port: u16,
    /// Until a server listens: when it must have.
    listen_by: Option<Instant>,
    stopped: bool,
    group: Group,
}

/// What poll has found, but for the streams, which know it themselves.
struct Ready {
    port: bool,
    exit: bool,
    names: bool,
    egress: bool,
}

pub(super) struct Relay {
    port: Port,
    random: Random,
    names: Names,
    base: root::Base,
    state: State,
    /// Until it is used.
    rehearsal: Option<Waiting>,
    /// During a rehearsal: what follows it.
    afterwards: Option<State>,
    streams: Vec<Stream>,
    /// The connection that found the server listening, for the first stream.
    spare: Option<OwnedFd>,
    /// Where the host is the workload's proxy.
    egress: Option<Egress>,
    buffer: Box<[u8]>,
}

impl Relay {
    pub(super) fn new(port: Port, random: Random, names: Names, workload: Waiting, rehearsal: Waiting) -> Self {
        Self {
            port,
            random,
            names,
            base: root::Base::default(),
            state: State::Waiting(workload),
            rehearsal: Some(rehearsal),
            afterwards: None,
            streams: Vec::with_capacity(8),
            spare: None,
            egress: None,
            buffer: vec![0; DATA_BYTES_MAX].into_boxed_slice(),
        }
    }

    /// Serves until the machine is killed.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            self.port.flush()?;
            self.streams.iter_mut().for_each(Stream::acknowledge);
            let ready = self.wait()?;
            if ready.port {
                self.port.fill()?;
                while let Some(frame) = self.port.next()? {
                    self.take(frame);
                }
            }
            if ready.names {
                self.names.answer();
            }
            if let Some(egress) = &mut self.egress
                && ready.egress
            {
                egress.accept(&mut self.streams, &mut self.port);
            }
            self.advance_streams();
            self.look_for_ends(ready.exit);
        }
    }

    /// Waits until something can be done. Only that is done then: in a translated guest each call of the kernel counts.
    fn wait(&mut self) -> io::Result<Ready> {
        let port_flags = if self.port.has_output() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = vec![PollFd::from_borrowed_fd(self.port.device(), port_flags)];
        let timeout = match &self.state {
            State::Running(running) => {
                fds.push(PollFd::new(&running.exit, PollFlags::IN));
                fds.push(PollFd::from_borrowed_fd(self.names.socket(), PollFlags::IN));
                Some(if running.listen_by.is_some() { PROBE } else { TICK })
            }
            State::Waiting(_) | State::Mounted(_) | State::Draining(..) | State::Over => None,
        };
        // Both or none of the two are looked at.
        let names = fds.len() - 1;
        let egress = self.egress.as_ref().and_then(|egress| egress.interest(&self.streams, &self.port));
        fds.extend(egress.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let listener = fds.len() - 1;
        let room = self.port.has_room();
        let mut owners = Vec::new();
        for (at, stream) in self.streams.iter().enumerate() {
            for interest in stream.interests(room) {
                fds.push(PollFd::new(interest.fd, interest.flags));
                owners.push(at);
            }
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let ready = Ready {
            port: is_ready(0),
            exit: names > 0 && is_ready(1),
            names: names > 0 && is_ready(names),
            egress: listener > names && is_ready(listener),
        };
        let moving: Vec<usize> =
            (listener + 1..).zip(owners).filter(|(at, _)| is_ready(*at)).map(|(_, owner)| owner).collect();
        for at in moving {
            if let Some(stream) = self.streams.get_mut(at) {
                stream.ready = true;
            }
        }
        Ok(ready)
    }

    fn take(&mut self, frame: ToGuest) {
        match frame {
            ToGuest::Base(base) => self.mount_base(&base),
            ToGuest::Mount(mount) => self.mount(&mount),
            ToGuest::Egress(port) => match Egress::listen(port) {
                Ok(egress) => self.egress = Some(egress),
                Err(error) => self.end(End::AgentFailed(format!("the way out: {error}"))),
            },
            ToGuest::Start(start) => match std::mem::replace(&mut self.state, State::Over) {
                State::Mounted(workload) => self.start(workload, *start),
                other => self.state = other,
            },
            ToGuest::Rehearse(start) => {
                if let (State::Waiting(_) | State::Mounted(_), Some(rehearsal)) = (&self.state, self.rehearsal.take()) {
                    self.afterwards = Some(std::mem::replace(&mut self.state, State::Over));
                    self.start(rehearsal, *start);
                }
            }
            ToGuest::Open(stream) => self.open(stream),
            ToGuest::Stream(id, piece) => {
                let Some(at) = self.streams.iter().position(|stream| stream.id == id) else { return };
                if let Some(stream) = self.streams.get_mut(at)
                    && !stream.take(piece, &mut self.port)
                {
                    self.streams.swap_remove(at);
                }
            }
            ToGuest::Measure => {
                let usage =
                    if let State::Running(running) = &self.state { running.group.usage() } else { Usage::default() };
                self.port.send(&ToHost::Measured(usage));
            }
            ToGuest::Stop => {
                if let State::Running(running) = &mut self.state {
                    running.stopped = true;
                    running.group.kill();
                }
            }
        }
    }

    /// In a template, before it is saved.
    fn mount_base(&mut self, base: &Base) {
        match self.base.mount() {
            Ok(()) => {
                // Whatever went wrong: clones are slower then, not wrong. The console's end says it.
                match warm::run(&base.argv) {
                    Ok(status) if status.success() => {}
                    Ok(status) => eprintln!("the base's own program: {status}"),
                    Err(error) => eprintln!("the base's own program: {error}"),
                }
                self.port.send(&ToHost::Mounted);
            }
            Err(error) => self.end(End::ImageRefused(error.to_string())),
        }
    }

    fn mount(&mut self, mount: &Mount) {
        let State::Waiting(waiting) = std::mem::replace(&mut self.state, State::Over) else { return };
        match root::assemble(mount, &mut self.base) {
            Ok(()) => {
                self.state = State::Mounted(waiting);
                self.port.send(&ToHost::Mounted);
            }
            Err(error) => self.end(End::ImageRefused(error.to_string())),
        }
    }

    fn start(&mut self, waiting: Waiting, start: Start) {
        let contract = start.contract;
        if let Err(error) = self.refresh(&start) {
            return self.end(End::AgentFailed(format!("clock and entropy: {error}")));
        }
        let (Program { pid, exit, stdin, stdout, stderr, orders, failure }, group) = match waiting.start(start) {
            Ok(started) => started,
            Err(error) => return self.end(End::AgentFailed(format!("the program cannot be started: {error}"))),
        };
        let (port, listen_by) = match contract {
            Contract::Command => {
                self.streams.push(Stream::pipes(STDIO, Some(stdin), stdout));
                (0, None)
            }
            Contract::Server { port, listen_within_ms } => {
                self.streams.push(Stream::pipes(STDOUT, None, stdout));
                (port, Some(Instant::now() + Duration::from_millis(listen_within_ms.into())))
            }
        };
        self.streams.push(Stream::pipes(STDERR, None, stderr));
        let reaped = Instant::now();
        let running = Running { pid, failure, exit, _orders: orders, reaped, port, listen_by, stopped: false, group };
        self.state = State::Running(running);
        self.port.send(&ToHost::Started);
    }

    /// What must be new in every clone before its workload runs.
    fn refresh(&self, start: &Start) -> io::Result<()> {
        restore::set_clock(Duration::from_nanos(start.clock_ns))?;
        self.random.reseed(start.entropy)
    }

    fn open(&mut self, id: u32) {
        let State::Running(Running { port: port @ 1.., .. }) = self.state else {
            return self.port.send(&ToHost::Stream(id, Piece::Reset));
        };
        let taken = self.streams.iter().any(|stream| stream.id == id);
        let stream = match self.spare.take() {
            _ if !(FIRST_STREAM..FIRST_EGRESS_STREAM).contains(&id) || taken || self.streams.len() >= STREAMS_MAX => {
                None
            }
            Some(socket) => Some(Stream::connected(id, socket)),
            None => Stream::connect(id, port).ok(),
        };
        match stream {
            Some(stream) => self.streams.push(stream),
            None => self.port.send(&ToHost::Stream(id, Piece::Reset)),
        }
    }

    fn advance_streams(&mut self) {
        let (port, buffer) = (&mut self.port, &mut self.buffer);
        self.streams.retain_mut(|stream| {
            let broken = std::mem::take(&mut stream.ready) && stream.advance(port, buffer).is_err();
            if broken || stream.is_cut() {
                port.send(&ToHost::Stream(stream.id, Piece::Reset));
            }
            !broken && !stream.is_over()
        });
    }

    /// Reaps, and notices that the workload has ended, that a server listens, and that all output was sent.
    fn look_for_ends(&mut self, exit: bool) {
        if let State::Running(running) = &mut self.state {
            let due = exit || running.reaped.elapsed() >= TICK;
            if due {
                running.reaped = Instant::now();
            }
            match due.then_some(running.pid).and_then(reap) {
                Some(status) => self.ended(status),
                None => self.probe(),
            }
        }
        if let State::Draining(..) = self.state
            && self.streams.iter().all(|stream| stream.id >= FIRST_STREAM || stream.source_ended)
            && let State::Draining(end, usage) = std::mem::replace(&mut self.state, State::Over)
        {
            self.end_with(end, usage);
        }
    }

    fn ended(&mut self, status: WaitStatus) {
        let State::Running(running) = &self.state else { return };
        let late = running.listen_by.is_some_and(|by| by <= Instant::now());
        // What it left behind must not keep its pipes open.
        running.group.kill();
        let end = match (status.exit_status(), status.terminating_signal()) {
            _ if running.group.ran_out_of_memory() => End::OutOfMemory,
            _ if running.stopped => End::Stopped,
            (Some(127), _) if let Some(end) = failure(&running.failure) => end,
            _ if late => End::NeverListened,
            (Some(status), _) => End::Exited(status),
            (None, signal) => End::Killed(signal.unwrap_or(0)),
        };
        let usage = running.group.usage();
        if running.stopped {
            // The host waits for this, and not for what was still to be said.
            return self.end_with(end, usage);
        }
        self.state = State::Draining(end, usage);
        self.streams.iter_mut().for_each(|stream| stream.ready = true);
        self.advance_streams();
    }

    fn probe(&mut self) {
        let State::Running(running) = &mut self.state else { return };
        let Some(listen_by) = running.listen_by else { return };
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], running.port));
        if let Ok(socket) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            running.listen_by = None;
            if socket.set_nonblocking(true).is_ok() {
                self.spare = Some(socket.into());
            }
            self.port.send(&ToHost::Listening);
        } else if listen_by <= Instant::now() {
            running.group.kill();
        }
    }

    fn end(&mut self, end: End) {
        self.end_with(end, Usage::default());
    }

    fn end_with(&mut self, end: End, usage: Usage) {
        self.state = self.afterwards.take().unwrap_or(State::Over);
        self.streams.clear();
        self.spare = None;
        self.egress = None;
        self.port.send(&ToHost::Ended(end, usage));
    }
}

/// Takes in all children that have ended; the workload's own status, if it is among them.
fn reap(main: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main {
            found = Some(status);
        }
    }
    found
}
