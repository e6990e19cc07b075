//! A machine with a node's keys, and software that keeps no rule: it hears nothing that is not its own, and neither its
//! frames nor its connections disturb others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use fabric::{Trust, UserKey, subjects};
use protocol::NodeId;
use protocol::headers;
use protocol::node::{Admission, Connection, Nonce};
use protocol::signed::Signed;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tests::wait_until;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use super::{Ground, ONLINE_WITHIN, PORT, PUBLIC};

/// What it listens for goes on for so long.
const LISTENS: Duration = Duration::from_secs(1);
const FLOODS: Duration = Duration::from_secs(3);
/// A client may have as many at a gateway.
const CONNECTIONS: usize = 1000;
/// A call of somebody else takes no longer meanwhile.
const CALL_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);
/// Of WebSockets.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
const OF_16_BITS: u8 = 126;
const OF_64_BITS: u8 = 127;

/// A node's connection, as bytes.
struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What NATS has said.
    heard: Vec<u8>,
    /// Whether NATS has let it in.
    is_in: bool,
}

/// What a node has in its folder.
struct Stolen {
    nats: UserKey,
    receipt: SigningKey,
    admission: Admission,
}

impl Stolen {
    fn of(folder: &Path) -> Self {
        let lent: Value = serde_json::from_slice(&std::fs::read(folder.join("node.json")).unwrap()).unwrap();
        let seed: [u8; 32] = std::fs::read(folder.join("keys/signing.key")).unwrap().try_into().unwrap();
        Self {
            nats: UserKey::open(&folder.join("keys/nats.nk")).unwrap(),
            receipt: SigningKey::from_bytes(&seed),
            admission: serde_json::from_str(lent["admission"]["text"].as_str().unwrap()).unwrap(),
        }
    }
}

impl Raw {
    fn connect(stolen: &Stolen) -> Self {
        let config = Arc::new(Trust::new().unwrap().client_config().unwrap());
        let connection = ClientConnection::new(config, ServerName::try_from(PUBLIC.to_string()).unwrap()).unwrap();
        let socket = TcpStream::connect((PUBLIC, PORT)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream: StreamOwned::new(connection, socket), heard: Vec::new(), is_in: false };
        let head = raw.request("");
        let challenge: Nonce = field(&head, headers::CHALLENGE).unwrap().parse().unwrap();
        let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
        raw.stream.read_exact(&mut vec![0; length]).unwrap();
        let node = stolen.admission.node;
        let asked = Connection { node, start: Nonce(rand::random()), challenge };
        let signed = Signed::new(&asked, &stolen.receipt).unwrap();
        let head = raw.request(&format!(
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}: {}\r\n{}: {}\r\n",
            headers::CONNECTION,
            signed.text,
            headers::SIGNATURE,
            signed.signature
        ));
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let info: Value = serde_json::from_str(raw.line().strip_prefix("INFO ").unwrap()).unwrap();
        let signature = stolen.nats.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "protocol": 1, "jwt": stolen.admission.jwt,
            "sig": URL_SAFE_NO_PAD.encode(signature),
        });
        raw.say(format!("CONNECT {connect}\r\nPING\r\n").as_bytes());
        assert_eq!(raw.line(), "PONG");
        raw.is_in = true;
        raw
    }

    /// Sends a request; the head of its response.
    fn request(&mut self, headers: &str) -> String {
        write!(self.stream, "GET /fabric HTTP/1.1\r\nhost: {PUBLIC}\r\n{headers}\r\n").unwrap();
        self.stream.flush().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    /// To NATS, in one message.
    fn say(&mut self, bytes: &[u8]) {
        self.try_to_say(bytes).unwrap();
    }

    fn try_to_say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut head = vec![BINARY];
        match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
            (Ok(length), _) if length < OF_16_BITS => head.push(MASKED | length),
            (_, Ok(length)) => {
                head.push(MASKED | OF_16_BITS);
                head.extend(length.to_be_bytes());
            }
            _ => {
                head.push(MASKED | OF_64_BITS);
                head.extend((bytes.len() as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        head.extend([0; 4]);
        self.stream.write_all(&[head.as_slice(), bytes].concat())?;
        self.stream.flush()
    }

    /// What NATS says next, answering its pings.
    fn line(&mut self) -> String {
        self.next_line().unwrap()
    }

    fn next_line(&mut self) -> std::io::Result<String> {
        loop {
            while let Some(end) = self.heard.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.heard[..end]).into_owned();
                self.heard.drain(..end + 2);
                match line.as_str() {
                    "PING" => self.try_to_say(b"PONG\r\n")?,
                    // The server says of itself again what it has said.
                    line if self.is_in && line.starts_with("INFO ") => {}
                    _ => return Ok(line),
                }
            }
            self.message()?;
        }
    }

    /// One message of the WebSocket.
    fn message(&mut self) -> std::io::Result<()> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] {
            OF_16_BITS => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            OF_64_BITS => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                usize::try_from(u64::from_be_bytes(length)).map_err(std::io::Error::other)?
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        if head[0] == BINARY {
            self.heard.extend(payload);
        }
        Ok(())
    }

    fn publish(&mut self, subject: &str, header: &[u8], payload: &[u8]) -> std::io::Result<()> {
        let head = format!("HPUB {subject} {} {}\r\n", header.len(), header.len() + payload.len());
        self.try_to_say(&[head.as_bytes(), header, payload, b"\r\n"].concat())
    }
}

/// A header's value.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(super) fn a_hostile_node_hears_nothing_and_disturbs_nobody(ground: &Ground) {
    let machine = ground.join(&ground.attic, "attic-8", &[]);
    let (folder, hostile_id) = (machine.data.clone(), ground.id(&machine));
    machine.stop();
    let victim = ground.join(&ground.cellar, "cellar-8", &[]);
    let victim_id: NodeId = ground.id(&victim).parse().unwrap();
    wait_until("runs go to the other one", ONLINE_WITHIN, || !ground.is_online("attic-8"));
    let stolen = Stolen::of(&folder);
    assert_eq!(stolen.admission.node.to_string(), hostile_id);

    let mut raw = ground.attic.within(|| Raw::connect(&stolen));
    refused_what_is_foreign(&mut raw, victim_id, stolen.admission.node);
    // Others talk meanwhile.
    let begun = Instant::now();
    raw.stream.sock.set_read_timeout(Some(LISTENS)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while begun.elapsed() < LISTENS {
                assert_eq!(ground.call("/burn?ms=1").status, 200);
            }
        });
        let heard = raw.next_line();
        assert!(heard.is_err(), "it heard {heard:?}");
    });

    let calling = AtomicBool::new(true);
    let calls = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let (begun, mut calls) = (Instant::now(), 0);
            while calling.load(Ordering::Relaxed) && begun.elapsed() < FLOODS * 10 {
                let answer = ground.call("/burn?ms=1");
                assert!(answer.status == 200 && answer.took < CALL_MAX, "{:?}: {}", answer.took, answer.head);
                calls += 1;
            }
            calls
        });
        floods(ground, &mut raw, stolen.admission.node);
        calling.store(false, Ordering::Relaxed);
        others.join().unwrap()
    });
    eprintln!("{calls} calls of others during the flood");
    assert!(calls > 10, "{calls}");
    drop(raw);
    assert!(ground.is_online("cellar-8"));
    ground.works(&victim);
    victim.stop();
}

fn refused_what_is_foreign(raw: &mut Raw, victim: NodeId, own: NodeId) {
    let foreign = [
        ">".to_owned(),
        "$SYS.>".to_owned(),
        "$JS.API.>".to_owned(),
        "$KV.>".to_owned(),
        "_INBOX.>".to_owned(),
        "cc.core.>".to_owned(),
        "cc.node.*.in.>".to_owned(),
        "cc.node.*.out.>".to_owned(),
        format!("cc.node.{victim}.in.run"),
        format!("cc.node.{own}.out.>"),
    ];
    for (number, subject) in foreign.iter().enumerate() {
        raw.say(format!("SUB {subject} {number}\r\n").as_bytes());
        let line = raw.line();
        assert!(line.contains("Permissions Violation"), "{subject}: {line}");
    }
    let forbidden = [
        "$SYS.REQ.SERVER.PING".to_owned(),
        "$JS.API.STREAM.LIST".to_owned(),
        "$KV.cc-routes.x".to_owned(),
        "cc.core.events.control".to_owned(),
        format!("cc.node.{victim}.in.run"),
        subjects::report(victim),
    ];
    for subject in &forbidden {
        raw.say(format!("PUB {subject} 1\r\nx\r\n").as_bytes());
        let line = raw.line();
        assert!(line.contains("Permissions Violation"), "{subject}: {line}");
    }
}

/// With frames that are none, and with as many connections as it gets.
fn floods(ground: &Ground, raw: &mut Raw, own: NodeId) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let opened: Vec<TcpStream> = ground.attic.within(|| {
        (0..CONNECTIONS).map_while(|_| TcpStream::connect_timeout(&Ground::public(), PATIENCE).ok()).collect()
    });
    assert!(opened.len() > CONNECTIONS / 2, "{}", opened.len());
    let (report, api) = (subjects::report(own), format!("cc.node.{own}.api"));
    let headers: [&[u8]; 4] =
        [b"NATS/1.0\r\nx: \xff\xfe\r\n\r\n", b"\xff\xff\xff\xff", b"NATS/1.0 503\r\n\r\n", b"\r\n\r\n"];
    let begun = Instant::now();
    while begun.elapsed() < FLOODS {
        let sent = headers.iter().try_for_each(|header| {
            raw.publish(&report, header, b"no report")?;
            raw.publish(&api, header, &[0xff; 300])?;
            raw.publish(&api, b"NATS/1.0\r\n\r\n", &[1; 60_000])
        });
        // To be cut off for it is as good.
        if let Err(error) = sent {
            eprintln!("the hostile node was cut off after {:?}: {error}", begun.elapsed());
            std::thread::sleep(FLOODS.saturating_sub(begun.elapsed()));
        }
    }
    drop(opened);
}
