//! The serial port to the host: frames in and out, without ever blocking.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use guest_agent::wire::{self, HEADER_BYTES, Header, ToGuest, ToHost};
use rustix::buffer::spare_capacity;

/// More than this waits for the host: streams are not read until it has gone.
const OUT_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 32 << 10;

pub(super) struct Port {
    device: OwnedFd,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
}

impl Port {
    /// The buffers are touched here, in the template, so that clones find their pages.
    pub(super) fn new(device: OwnedFd) -> Self {
        Self {
            device,
            inbox: Vec::with_capacity(READ_BYTES * 2),
            outbox: Vec::with_capacity(OUT_BYTES_MAX * 2),
            sent: 0,
        }
    }

    pub(super) fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    pub(super) fn send(&mut self, frame: &ToHost) {
        frame.encode(&mut self.outbox);
    }

    pub(super) fn send_data(&mut self, stream: u32, bytes: &[u8], fin: bool) {
        wire::encode_data(&mut self.outbox, stream, bytes, fin);
    }

    /// Something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// Streams may be read.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() - self.sent < OUT_BYTES_MAX
    }

    /// Writes as much as the host takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.device, rest) {
                Ok(written) => self.sent += written,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads what is there.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        self.inbox.reserve(READ_BYTES);
        match rustix::io::read(&self.device, spare_capacity(&mut self.inbox)) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> io::Result<Option<ToGuest>> {
        let Some(header) = self.inbox.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = Header::decode(header).map_err(io::Error::other)?;
        let end = HEADER_BYTES + header.length();
        let Some(payload) = self.inbox.get(HEADER_BYTES..end) else { return Ok(None) };
        let frame = ToGuest::decode(header, payload.to_vec()).map_err(io::Error::other)?;
        self.inbox.drain(..end);
        Ok(Some(frame))
    }
}
