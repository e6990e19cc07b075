//! QEMU's monitor, through `qapi`. A command runs in a task of its own: were its future dropped, its late answer would
//! end the connection. Events come as a stream. The connection may end (by an event that `qapi` does not know) while
//! the machine lives on: what must be noticed is noticed by the process's end and the agent's socket, too.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp::{self, Event, QmpCommand};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::config::COMMAND_WITHIN;
use crate::error::Error;

/// What the monitor tells unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineEvent {
    /// The guest's kernel gave up.
    Panicked,
    /// The guest turned itself off or wanted to start again.
    Shutdown {
        by_guest: bool,
    },
    Stopped,
    Resumed,
}

/// Sends commands.
pub(crate) struct Monitor {
    service: Arc<QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>>,
    /// The same connection, for files.
    beside: OwnedFd,
    /// Until somebody takes it.
    pub(crate) events: Option<mpsc::Receiver<MachineEvent>>,
}

impl Monitor {
    /// Waits until QEMU greets.
    pub(crate) async fn open(socket: UnixStream) -> Result<Self, Error> {
        let beside = socket.as_fd().try_clone_to_owned().map_err(Error::io("QEMU's monitor"))?;
        let negotiate = async { QmpStreamTokio::open(socket).await?.negotiate().await };
        let stream = tokio::time::timeout(COMMAND_WITHIN, negotiate)
            .await
            .map_err(|_| Error::Slow("QEMU's greeting"))?
            .map_err(|error| Error::Qemu(format!("it did not greet: {error}")))?;
        let (service, mut stream) = stream.into_parts();
        let (sender, events) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(Ok(event)) = stream.next().await {
                // Nobody listens, or too slowly: events are news, not truth.
                if let Some(event) = meaning(&event) {
                    let _ = sender.try_send(event);
                }
            }
        });
        Ok(Self { service: Arc::new(service), beside, events: Some(events) })
    }

    /// Runs a command.
    pub(crate) async fn execute<C>(&self, command: C) -> Result<C::Ok, Error>
    where
        C: QmpCommand + Send + Sync + 'static,
        C::Ok: Send + 'static,
    {
        let service = Arc::clone(&self.service);
        let task = tokio::spawn(async move { service.execute(command).await });
        let answer = tokio::time::timeout(COMMAND_WITHIN, task).await.map_err(|_| Error::Slow(C::NAME))?;
        let answer = answer.map_err(|error| Error::Qemu(format!("{}: {error}", C::NAME)))?;
        answer.map_err(|error| Error::Qemu(format!("{}: {error}", C::NAME)))
    }

    /// Hands an open file over, which QEMU knows by this name from then on. No command may be on its way.
    pub(crate) async fn give(&self, file: OwnedFd, name: &str) -> Result<(), Error> {
        self.send(&file).map_err(Error::io("a file for QEMU"))?;
        self.execute(qmp::getfd { fdname: name.to_owned() }).await?;
        Ok(())
    }

    /// It comes with a byte that means nothing, and stays with the connection until the command that names it.
    fn send(&self, file: &OwnedFd) -> std::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut files = SendAncillaryBuffer::new(&mut space);
        let file = [file.as_fd()];
        files.push(SendAncillaryMessage::ScmRights(&file));
        sendmsg(&self.beside, &[IoSlice::new(b"\n")], &mut files, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Leaves memory that is shared out of what is saved and restored.
    pub(crate) async fn ignore_shared_memory(&self) -> Result<(), Error> {
        let capability =
            qmp::MigrationCapabilityStatus { capability: qmp::MigrationCapability::x_ignore_shared, state: true };
        self.execute(qmp::migrate_set_capabilities { capabilities: vec![capability] }).await?;
        Ok(())
    }

    /// Waits for the state to be saved or restored.
    pub(crate) async fn migrated(&self, within: Duration) -> Result<(), Error> {
        let wait = async {
            loop {
                let status = self.execute(qmp::query_migrate {}).await?.status;
                match status {
                    Some(qmp::MigrationStatus::completed) => return Ok(()),
                    Some(qmp::MigrationStatus::failed | qmp::MigrationStatus::cancelled) => {
                        return Err(Error::Qemu("the machine's state is not what it should be".to_owned()));
                    }
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        tokio::time::timeout(within, wait).await.map_err(|_| Error::Slow("the machine's state"))?
    }
}

fn meaning(event: &Event) -> Option<MachineEvent> {
    Some(match event {
        Event::GUEST_PANICKED { .. } => MachineEvent::Panicked,
        Event::SHUTDOWN { data, .. } => MachineEvent::Shutdown { by_guest: data.guest },
        Event::STOP { .. } => MachineEvent::Stopped,
        Event::RESUME { .. } => MachineEvent::Resumed,
        _ => return None,
    })
}
