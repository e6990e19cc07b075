//! One stream between the host and something inside: a pipe of the workload, or a connection to it.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use guest_agent::wire::{DATA_BYTES_MAX, FIRST_EGRESS_STREAM, Piece, ToHost, WINDOW_BYTES};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, Ipv4Addr, Shutdown, SocketAddrV4, SocketFlags, SocketType};

use super::port::Port;

pub(super) struct Stream {
    pub(super) id: u32,
    /// Read here, sent to the host.
    source: Option<Rc<OwnedFd>>,
    sink: Sink,
    /// The host takes this many bytes more.
    credit: u32,
    /// From the host, not written yet: never more than the window.
    pending: Vec<u8>,
    written: usize,
    fin: bool,
    /// Written, and not granted again yet.
    consumed: u32,
    /// The source has ended and the host knows it.
    pub(super) source_ended: bool,
    /// Poll has said that something can be moved.
    pub(super) ready: bool,
    /// Its sender waits for an acknowledgement.
    unacknowledged: bool,
}

enum Sink {
    Pipe(OwnedFd),
    Connecting(Rc<OwnedFd>),
    Socket(Rc<OwnedFd>),
    /// What comes is granted again and dropped.
    Closed,
}

/// What poll is asked to look at.
pub(super) struct Interest<'a> {
    pub(super) fd: &'a OwnedFd,
    pub(super) flags: PollFlags,
}

impl Stream {
    pub(super) fn pipes(id: u32, sink: Option<OwnedFd>, source: OwnedFd) -> Self {
        Self::new(id, Some(Rc::new(source)), sink.map_or(Sink::Closed, Sink::Pipe))
    }

    /// A connection that stands already.
    pub(super) fn connected(id: u32, socket: OwnedFd) -> Self {
        let socket = Rc::new(socket);
        Self::new(id, Some(Rc::clone(&socket)), Sink::Socket(socket))
    }

    /// A connection to the server inside, that will stand soon or be refused.
    pub(super) fn connect(id: u32, port: u16) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let socket = Rc::new(socket);
        Ok(Self::new(id, Some(Rc::clone(&socket)), Sink::Connecting(socket)))
    }

    fn new(id: u32, source: Option<Rc<OwnedFd>>, sink: Sink) -> Self {
        let pending = Vec::new();
        Self {
            id,
            source,
            sink,
            credit: WINDOW_BYTES,
            pending,
            written: 0,
            fin: false,
            consumed: 0,
            source_ended: false,
            ready: false,
            unacknowledged: false,
        }
    }

    /// Both directions are over.
    pub(super) fn is_over(&self) -> bool {
        self.source_ended && matches!(self.sink, Sink::Closed)
    }

    /// A way out that is over though the host has more to say: it must know, or it would wait for credit.
    pub(super) fn is_cut(&self) -> bool {
        self.id >= FIRST_EGRESS_STREAM && self.is_over() && !self.fin
    }

    pub(super) fn interests(&self, room: bool) -> impl Iterator<Item = Interest<'_>> {
        let connecting = matches!(self.sink, Sink::Connecting(_));
        let reads = self.source.as_deref().filter(|_| room && self.credit > 0 && !connecting);
        let reads = reads.map(|fd| Interest { fd, flags: PollFlags::IN });
        let sink = match &self.sink {
            Sink::Pipe(fd) => Some(fd),
            Sink::Connecting(fd) | Sink::Socket(fd) => Some(&**fd),
            Sink::Closed => None,
        };
        let writes = sink.filter(|_| connecting || self.written < self.pending.len());
        reads.into_iter().chain(writes.map(|fd| Interest { fd, flags: PollFlags::OUT }))
    }

    /// Takes a piece from the host. False: the host broke its word, or wants no more.
    pub(super) fn take(&mut self, piece: Piece, port: &mut Port) -> bool {
        match piece {
            Piece::Data { bytes, fin } => {
                if self.fin || self.pending.len() - self.written + bytes.len() > window() {
                    return false;
                }
                self.pending.drain(..self.written);
                self.written = 0;
                self.pending.extend_from_slice(&bytes);
                self.fin = fin;
                self.write(port).is_ok()
            }
            Piece::Credit(bytes) => {
                self.credit = self.credit.saturating_add(bytes);
                true
            }
            Piece::Reset if self.fin && !matches!(self.sink, Sink::Closed) => {
                // It reads no more; what it has sent is still written.
                self.source = None;
                self.source_ended = true;
                true
            }
            Piece::Reset => false,
        }
    }

    /// Moves what can be moved without waiting. An error ends the stream.
    pub(super) fn advance(&mut self, port: &mut Port, buffer: &mut [u8]) -> io::Result<()> {
        if let Sink::Connecting(socket) = &self.sink {
            let mut poll = [rustix::event::PollFd::new(&**socket, PollFlags::OUT)];
            if rustix::event::poll(&mut poll, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
                return Ok(());
            }
            rustix::net::sockopt::socket_error(socket)??;
            self.sink = Sink::Socket(Rc::clone(socket));
        }
        self.write(port)?;
        self.read(port, buffer)
    }

    fn write(&mut self, port: &mut Port) -> io::Result<()> {
        loop {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let result = match &self.sink {
                Sink::Pipe(fd) => rustix::io::write(fd, rest),
                Sink::Socket(fd) => rustix::io::write(&**fd, rest),
                Sink::Connecting(_) => return Ok(()),
                Sink::Closed => Ok(rest.len()),
            };
            match result {
                Ok(written) => {
                    self.written += written;
                    self.consumed = self.consumed.saturating_add(u32::try_from(written).unwrap_or(u32::MAX));
                }
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                // A command need not read its stdin to the end.
                Err(rustix::io::Errno::PIPE) => self.sink = Sink::Closed,
                Err(error) => return Err(error.into()),
            }
        }
        if self.written == self.pending.len() {
            self.pending.clear();
            self.written = 0;
            if self.fin
                && let Sink::Socket(socket) = std::mem::replace(&mut self.sink, Sink::Closed)
            {
                rustix::net::shutdown(&*socket, Shutdown::Write)?;
            }
        }
        if self.consumed >= WINDOW_BYTES / 2 && !self.fin {
            port.send(&ToHost::Stream(self.id, Piece::Credit(self.consumed)));
            self.consumed = 0;
        }
        Ok(())
    }

    fn read(&mut self, port: &mut Port, buffer: &mut [u8]) -> io::Result<()> {
        while self.credit > 0 && port.has_room() {
            let Some(source) = &self.source else { return Ok(()) };
            let most = usize::try_from(self.credit).unwrap_or(usize::MAX).min(DATA_BYTES_MAX).min(buffer.len());
            let space = buffer.get_mut(..most).unwrap_or_default();
            match rustix::io::read(&**source, &mut *space) {
                Ok(0) => {
                    self.end_source(port);
                    return Ok(());
                }
                Ok(read) => {
                    port.send_data(self.id, space.get(..read).unwrap_or_default(), false);
                    self.credit -= u32::try_from(read).unwrap_or(self.credit);
                    self.unacknowledged = true;
                    // That was all; what follows is told by poll.
                    if read < most {
                        return Ok(());
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A server that writes its answer in two pieces would wait 40 ms for an acknowledgement of the first before it sends
    /// the second. This is for after the first has gone on to the host.
    pub(super) fn acknowledge(&mut self) {
        if std::mem::take(&mut self.unacknowledged)
            && let Sink::Socket(socket) = &self.sink
        {
            // Where it cannot be asked for, it comes by itself.
            let _ = rustix::net::sockopt::set_tcp_quickack(&**socket, true);
        }
    }

    fn end_source(&mut self, port: &mut Port) {
        self.source = None;
        self.source_ended = true;
        port.send_data(self.id, &[], true);
    }
}

fn window() -> usize {
    usize::try_from(WINDOW_BYTES).unwrap_or(usize::MAX)
}
