//! The host's end of the agent's port: frames in and out, streams with credit both ways, and nothing believed.

mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use guest_agent::wire::{HEADER_BYTES, Header, STDERR, STDIO, STDOUT, ToGuest, ToHost, WireError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use self::state::Shared;
pub use self::stream::GuestStream;

/// Control frames that wait for the machine's task; a guest that sends more waits.
const CONTROL_FRAMES: usize = 8;

/// What is not on a stream, and the link's end.
#[derive(Debug)]
pub(crate) enum Control {
    Frame(ToHost),
    /// The guest broke the protocol.
    Broken(String),
    /// QEMU has closed its end.
    Closed,
}

/// An open link. Clones share it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

impl Link {
    /// Starts to read and write.
    pub(crate) fn open(socket: impl AsyncRead + AsyncWrite + Send + 'static) -> (Self, mpsc::Receiver<Control>) {
        let shared = Arc::new(Shared::new());
        let (mut reader, mut writer) = tokio::io::split(socket);
        let (sender, control) = mpsc::channel(CONTROL_FRAMES);
        let inward = Arc::clone(&shared);
        tokio::spawn(async move {
            let end = match read(&mut reader, &inward, &sender).await {
                Ok(()) => Control::Closed,
                Err(error) => Control::Broken(error.to_string()),
            };
            inward.close();
            // The machine's task may have gone already.
            let _ = sender.send(end).await;
        });
        let outward = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Some(bytes) = outward.next_output().await {
                if writer.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            outward.close();
        });
        (Self(shared), control)
    }

    /// Sends frames, all in one write.
    pub(crate) fn send(&self, frames: &[ToGuest]) {
        self.0.send(frames);
    }

    /// A command's stdin and stdout.
    pub(crate) fn stdio(&self) -> GuestStream {
        GuestStream::standard(&self.0, STDIO)
    }

    pub(crate) fn stderr(&self) -> GuestStream {
        GuestStream::standard(&self.0, STDERR)
    }

    /// A server's stdout.
    pub(crate) fn stdout(&self) -> GuestStream {
        GuestStream::standard(&self.0, STDOUT)
    }

    /// A new connection to the server inside; none when too many are open.
    pub(crate) fn connect(&self) -> Option<GuestStream> {
        GuestStream::connect(&self.0)
    }

    /// Lets the guest open streams: here they are, until the link is closed.
    pub(crate) fn accept(&self) -> mpsc::Receiver<GuestStream> {
        self.0.accept()
    }

    /// Nothing more goes in or out.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("more than was granted")]
    Window,
    #[error("a stream that it may not open")]
    Opened,
}

async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    shared: &Arc<Shared>,
    control: &mpsc::Sender<Control>,
) -> Result<(), Broken> {
    loop {
        let mut header = [0; HEADER_BYTES];
        if reader.read_exact(&mut header).await.is_err() {
            return Ok(());
        }
        let header = Header::decode(&header)?;
        let mut payload = vec![0; header.length_from_guest()?];
        if reader.read_exact(&mut payload).await.is_err() {
            return Ok(());
        }
        match ToHost::decode(header, payload)? {
            ToHost::Stream(id, piece) => {
                if !shared.take(id, piece) {
                    return Err(Broken::Window);
                }
            }
            ToHost::Open(id) => {
                shared.room().await;
                if !shared.opened(id) {
                    return Err(Broken::Opened);
                }
            }
            frame => {
                if control.send(Control::Frame(frame)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
