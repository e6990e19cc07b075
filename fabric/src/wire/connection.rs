//! Connects, says who we are, reads and writes, and does it all again when the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf as _, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::protocol::{self, Operation, parse};
use super::{Core, Inbound, OUT_KEEP_BYTES, tls};
use crate::profile::{self, Part};
use crate::uplink::{Refused, Uplink};
use crate::{FabricConfig, FabricError};

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Through proxy, TLS and gateway, over whatever line there is.
const CONNECT_FAR_WITHIN: Duration = Duration::from_secs(10);
/// Silence of two of these ends the connection.
const PING_EVERY: Duration = Duration::from_secs(1);
const RECONNECT_FIRST: Duration = Duration::from_millis(20);
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// Through a gateway: many nodes may do the same, and each handshake costs it something.
const RECONNECT_FAR_MAX: Duration = Duration::from_secs(5);
/// After a refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(300);
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// A buffer that has grown larger than this is given back.
const READ_KEEP_BYTES: usize = 256 * 1024;
/// Half of it is the largest frame.
const MAX_PAYLOAD_MIN_BYTES: usize = 512 * 1024;
const PORT_DEFAULT: u16 = 4222;

/// Errors of an attempt to connect are only ever shown.
pub(crate) type Attempt<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

struct Connected {
    reader: Reader,
    writer: Writer,
    buffer: BytesMut,
}

/// What the server says of itself.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    max_payload: usize,
    #[serde(default)]
    headers: bool,
    #[serde(default)]
    tls_required: bool,
}

/// Makes the first connection and starts the tasks that keep it.
pub(super) async fn start(core: Arc<Core>, config: FabricConfig, uplink: Option<Uplink>) -> Result<(), FabricError> {
    let first = connect_any(&config, uplink.as_ref()).await?;
    core.went_up();
    tokio::spawn(profile::around(Part::Fabric, async move {
        let closed = core.closed.clone();
        tokio::select! {
            () = closed.cancelled() => {}
            () = keep(&core, &config, uplink.as_ref(), first) => {}
        }
        core.went_down();
    }));
    Ok(())
}

async fn keep(core: &Arc<Core>, config: &FabricConfig, uplink: Option<&Uplink>, mut connected: Connected) {
    loop {
        let why = run(core, connected).await;
        core.went_down();
        tracing::warn!(name = config.name, why, "the connection to NATS is lost");
        let mut pause = RECONNECT_FIRST;
        connected = loop {
            let most = match connect_any(config, uplink).await {
                Ok(connected) => break connected,
                Err(FabricError::Refused(problem)) => {
                    tracing::warn!(%problem, "the gateway refuses the connection");
                    *core.refusal.lock() = Some(problem);
                    pause = pause.max(REFUSED_PAUSE);
                    REFUSED_PAUSE_MAX
                }
                Err(error) => {
                    tracing::debug!(%error, "not connected yet");
                    if uplink.is_some() { RECONNECT_FAR_MAX } else { RECONNECT_MAX }
                }
            };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(most);
        };
        *core.refusal.lock() = None;
        core.went_up();
        tracing::info!(name = config.name, "connected to NATS again");
    }
}

/// Tries the gateway, or each server, once.
async fn connect_any(config: &FabricConfig, uplink: Option<&Uplink>) -> Result<Connected, FabricError> {
    if let Some(uplink) = uplink {
        let failed = |reason: String| FabricError::Connect { url: config.url.clone(), reason };
        let connected = tokio::time::timeout(CONNECT_FAR_WITHIN, through(uplink, config)).await;
        return connected.map_err(|_| failed("no answer in time".to_owned()))?.map_err(|error| {
            match error.downcast::<Refused>() {
                Ok(refused) => FabricError::Refused(refused.0),
                Err(error) => failed(error.to_string()),
            }
        });
    }
    let mut last = FabricError::Connect { url: config.url.clone(), reason: "no server is named".to_owned() };
    for url in config.url.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        let refused = |reason: String| FabricError::Connect { url: url.to_owned(), reason };
        last = match tokio::time::timeout(CONNECT_WITHIN, connect(url, config)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => refused(error.to_string()),
            Err(_) => refused("no answer in time".to_owned()),
        };
    }
    Err(last)
}

/// Through a gateway, which has secured the connection already.
async fn through(uplink: &Uplink, config: &FabricConfig) -> Attempt<Connected> {
    let mut stream = uplink.dial().await?;
    let mut buffer = BytesMut::with_capacity(READ_BUFFER_BYTES);
    let info = greeting(&mut stream, &mut buffer).await?;
    let (reader, writer) = tokio::io::split(stream);
    log_in(&info, config, Connected { reader: Box::new(reader), writer: Box::new(writer), buffer }).await
}

async fn connect(url: &str, config: &FabricConfig) -> Attempt<Connected> {
    let (secure, address) = match url.split_once("://") {
        Some(("nats", address)) => (false, address),
        Some(("tls", address)) => (true, address),
        Some((scheme, _)) => return Err(format!("`{scheme}` is not a scheme of NATS: use nats or tls").into()),
        None => (false, url),
    };
    let with_port = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let (host, mut stream) = match with_port {
        Some((host, _)) => (host, TcpStream::connect(address).await?),
        None => (address, TcpStream::connect((address, PORT_DEFAULT)).await?),
    };
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(READ_BUFFER_BYTES);
    let info = greeting(&mut stream, &mut buffer).await?;
    let (reader, writer): (Reader, Writer) = if secure || info.tls_required {
        let (reader, writer) = tokio::io::split(tls::secure(stream, host).await?);
        (Box::new(reader), Box::new(writer))
    } else {
        let (reader, writer) = stream.into_split();
        (Box::new(reader), Box::new(writer))
    };
    log_in(&info, config, Connected { reader, writer, buffer }).await
}

/// Says who we are, and waits until we are welcome.
async fn log_in(info: &Info, config: &FabricConfig, mut connected: Connected) -> Attempt<Connected> {
    if !info.headers || info.max_payload < MAX_PAYLOAD_MIN_BYTES {
        return Err(format!("the server must have headers and a max_payload of {MAX_PAYLOAD_MIN_BYTES}").into());
    }
    connected.writer.write_all(introduction(info, config).await?.as_bytes()).await?;
    connected.writer.flush().await?;
    welcome(&mut connected.reader, &mut connected.buffer).await?;
    Ok(connected)
}

/// The server speaks first.
async fn greeting<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> Attempt<Info> {
    loop {
        if let Some((operation, used)) = parse(buffer)? {
            let Operation::Info(info) = operation else { return Err(Box::new(protocol::NotNats)) };
            let info = serde_json::from_slice(info)?;
            buffer.advance(used);
            return Ok(info);
        }
        if reader.read_buf(buffer).await? == 0 {
            return Err("the server closed the connection".into());
        }
    }
}

/// CONNECT and PING: the PONG says that we are welcome.
async fn introduction(info: &Info, config: &FabricConfig) -> Attempt<String> {
    let signature = URL_SAFE_NO_PAD.encode(config.credentials.key.sign(info.nonce.as_bytes()).await?);
    let connect = serde_json::json!({
        "verbose": false, "pedantic": false, "tls_required": false, "lang": "rust", "protocol": 1, "echo": true,
        "version": env!("CARGO_PKG_VERSION"), "name": config.name, "headers": true, "no_responders": true,
        "jwt": config.credentials.jwt, "sig": signature,
    });
    Ok(format!("CONNECT {connect}\r\nPING\r\n"))
}

async fn welcome<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> Attempt<()> {
    loop {
        while let Some((operation, used)) = parse(buffer)? {
            match operation {
                Operation::Pong => {
                    buffer.advance(used);
                    return Ok(());
                }
                Operation::Error(error) => return Err(String::from_utf8_lossy(error).into()),
                _ => buffer.advance(used),
            }
        }
        if reader.read_buf(buffer).await? == 0 {
            return Err("the server closed the connection".into());
        }
    }
}

/// Reads and writes until the connection is lost. Says why.
async fn run(core: &Arc<Core>, connected: Connected) -> String {
    let Connected { reader, writer, buffer } = connected;
    let mut writing = tokio::spawn(profile::around(Part::Fabric, write(core.clone(), writer)));
    tokio::select! {
        why = read(core, reader, buffer) => {
            // Waited for, so that it takes nothing that is meant for the next connection.
            writing.abort();
            drop(writing.await);
            why
        }
        why = &mut writing => why.unwrap_or_else(|error| error.to_string()),
    }
}

async fn read(core: &Core, mut reader: Reader, mut buffer: BytesMut) -> String {
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent_pings = 0;
    loop {
        loop {
            match parse(&buffer) {
                Ok(None) => break,
                Err(error) => return error.to_string(),
                Ok(Some((operation, used))) => {
                    perform(core, &operation);
                    buffer.advance(used);
                }
            }
        }
        if buffer.is_empty() && buffer.capacity() > READ_KEEP_BYTES {
            buffer = BytesMut::new();
        }
        buffer.reserve(READ_BUFFER_BYTES);
        tokio::select! {
            biased;
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) => return "the server closed the connection".to_owned(),
                Ok(_) => silent_pings = 0,
                Err(error) => return error.to_string(),
            },
            _ = pings.tick() => {
                if silent_pings >= 2 {
                    return "the server is silent".to_owned();
                }
                silent_pings += 1;
                core.ping(tokio::sync::oneshot::channel().0);
            }
        }
    }
}

fn perform(core: &Core, operation: &Operation<'_>) {
    match operation {
        Operation::Message { id, subject, reply, no_responders, payload } => {
            if let Some(handler) = core.listener(*id) {
                handler(Inbound { subject, reply: *reply, no_responders: *no_responders, payload });
            }
        }
        Operation::Ping => core.write(protocol::pong),
        Operation::Pong => {
            let waiting = core.out.lock().pongs.pop_front();
            if let Some(waiting) = waiting {
                let _ = waiting.send(());
            }
        }
        Operation::Error(error) => tracing::warn!(error = %String::from_utf8_lossy(error), "NATS refuses"),
        Operation::Info(_) | Operation::Ok | Operation::Strange => {}
    }
}

/// Writes what waits, as much at once as there is.
async fn write(core: Arc<Core>, mut writer: Writer) -> String {
    let mut bytes = BytesMut::new();
    loop {
        std::mem::swap(&mut bytes, &mut core.out.lock().bytes);
        if bytes.is_empty() {
            core.pending.notified().await;
            continue;
        }
        core.drained.notify_waiters();
        if let Err(error) = writer.write_all(&bytes).await {
            return error.to_string();
        }
        if let Err(error) = writer.flush().await {
            return error.to_string();
        }
        if bytes.capacity() > OUT_KEEP_BYTES {
            bytes = BytesMut::new();
        } else {
            bytes.clear();
        }
    }
}
