//! A proxy of HTTP that knows `CONNECT` to one host and port alone; what it carries can be late, and cut off.

use std::io::{BufReader, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is late waits in at most so many pieces for each direction of a tunnel.
const PIECES_MAX: usize = 1024;
const PIECE_BYTES: usize = 16 << 10;

/// A proxy, on the host of the thread that has started it; it goes with its process.
pub struct Proxy {
    /// For `HTTPS_PROXY`.
    pub url: String,
    state: Arc<State>,
}

struct State {
    /// What may be connected to, and where that is.
    allowed: String,
    to: String,
    late_us: AtomicU64,
    opened: AtomicUsize,
    closed: AtomicUsize,
    tunnels: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens at `listen` for `CONNECT allowed`, and connects to `to`.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(listen: &str, allowed: &str, to: &str) -> Self {
        let listener = TcpListener::bind(listen).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            allowed: allowed.to_owned(),
            to: to.to_owned(),
            late_us: AtomicU64::new(0),
            opened: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            tunnels: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&accepting);
                // Who asks for something else, or goes away, is told so or forgotten.
                std::thread::spawn(move || drop(tunnel(client, &state)));
            }
        });
        Self { url, state }
    }

    /// What is carried from now on comes so much later, each way.
    pub fn delay(&self, each_way: Duration) {
        self.state.late_us.store(u64::try_from(each_way.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Ends all tunnels, with what is on its way.
    ///
    /// # Panics
    /// When a thread of it has panicked.
    pub fn cut(&self) {
        for tunnel in self.state.tunnels.lock().unwrap().drain(..) {
            drop(tunnel.shutdown(Shutdown::Both));
        }
    }

    /// Tunnels since its start.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.state.opened.load(Ordering::Relaxed)
    }

    /// Those of them that have ended.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.state.closed.load(Ordering::Relaxed)
    }
}

/// The target of the request, which is read to its head's end.
///
/// # Errors
/// When the client has gone.
pub fn target_of(client: &mut impl std::io::BufRead) -> std::io::Result<String> {
    let (mut first, mut line) = (String::new(), String::new());
    client.read_line(&mut first)?;
    while client.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    Ok(first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned())
}

fn tunnel(mut client: TcpStream, state: &Arc<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    if target_of(&mut reader)? != state.allowed {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    }
    let server = TcpStream::connect(&state.to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    state.opened.fetch_add(1, Ordering::Relaxed);
    state.tunnels.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (from, into, back) = (server.try_clone()?, client.try_clone()?, Arc::clone(state));
    std::thread::spawn(move || carry(from, &into, &back));
    carry(reader, &server, state);
    drop(client.shutdown(Shutdown::Both));
    state.closed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Carries bytes one way until one side ends; then the receiving side is closed.
fn carry(mut from: impl Read + Send + 'static, mut into: &TcpStream, state: &Arc<State>) {
    let (sender, pieces) = sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let reading = Arc::clone(state);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + Duration::from_micros(reading.late_us.load(Ordering::Relaxed));
            if sender.send((due, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    for (due, piece) in pieces {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if into.write_all(&piece).is_err() {
            break;
        }
    }
    drop(into.shutdown(Shutdown::Both));
}
