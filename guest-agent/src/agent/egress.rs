//! The workload's way out: a port of the loopback. The agent only carries what comes there to the host, which is the
//! proxy. A guest whose host has not asked for it has no such port.

use std::io;
use std::os::fd::OwnedFd;

use guest_agent::wire::{EGRESS_STREAMS_MAX, FIRST_EGRESS_STREAM, ToHost};
use rustix::net::{AddressFamily, Ipv4Addr, SocketAddrV4, SocketFlags, SocketType};

use super::port::Port;
use super::streams::Stream;

const BACKLOG: i32 = 128;

pub(super) struct Egress {
    listener: OwnedFd,
    next_id: u32,
}

impl Egress {
    pub(super) fn listen(port: u16) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(Self { listener, next_id: FIRST_EGRESS_STREAM })
    }

    /// What to look at, where another connection may be taken.
    pub(super) fn interest(&self, streams: &[Stream], port: &Port) -> Option<&OwnedFd> {
        (port.has_room() && count(streams) < EGRESS_STREAMS_MAX).then_some(&self.listener)
    }

    /// Takes the connections that wait; more than may be open at one time wait on.
    pub(super) fn accept(&mut self, streams: &mut Vec<Stream>, port: &mut Port) {
        while self.interest(streams, port).is_some() {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            // None waits, or the one that did has gone already.
            let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else { return };
            // Otherwise a small answer waits for the end of the one before; where it fails it only does.
            let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
            let id = self.next_id;
            self.next_id = id.wrapping_add(1).max(FIRST_EGRESS_STREAM);
            port.send(&ToHost::Open(id));
            streams.push(Stream::connected(id, socket));
        }
    }
}

fn count(streams: &[Stream]) -> usize {
    streams.iter().filter(|stream| stream.id >= FIRST_EGRESS_STREAM).count()
}
