//! Golden bytes, so that a change of the protocol is seen, and hostile input.

use proptest::prelude::*;

use super::{
    Base, Contract, DATA_BYTES_MAX, End, HEADER_BYTES, Header, Hello, Mount, PAYLOAD_BYTES_MAX, Piece, Start, ToGuest,
    ToHost, Usage, WireError,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn guest_bytes(frame: &ToGuest) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn host_bytes(frame: &ToHost) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn split(bytes: &[u8]) -> (Result<Header, WireError>, Vec<u8>) {
    let header = Header::decode(bytes.first_chunk::<HEADER_BYTES>().unwrap());
    (header, bytes[HEADER_BYTES..].to_vec())
}

fn read_guest(bytes: &[u8]) -> Result<ToGuest, WireError> {
    let (header, payload) = split(bytes);
    ToGuest::decode(header?, payload)
}

fn read_host(bytes: &[u8]) -> Result<ToHost, WireError> {
    let (header, payload) = split(bytes);
    ToHost::decode(header?, payload)
}

fn start() -> Start {
    Start {
        clock_ns: 1_700_000_000_000_000_001,
        entropy: [0xe7; 64],
        contract: Contract::Server { port: 8080, listen_within_ms: 1500 },
        uid: 1000,
        gid: 1001,
        groups: vec![5, 27],
        memory_bytes: 64 << 20,
        pids_max: 32,
        files_max: 256,
        cwd: b"/srv".to_vec(),
        argv: vec![b"run".to_vec(), b"-v".to_vec()],
        env: vec![b"A=b".to_vec()],
    }
}

const USAGE: Usage = Usage { cpu_us: 1, memory_peak_bytes: 2, rss_peak_bytes: 3, pids_refused: 4 };

#[test]
fn frames_to_the_guest_have_these_bytes() {
    let mount = ToGuest::Mount(Mount { overlay_bytes: 258, warm: vec![b"a".to_vec()], based: true });
    let entropy = "e7".repeat(64);
    let start_golden = format!(
        "970000000400000000000000\
         01002a36fe9c9717{entropy}01901fdc050000e8030000e903000002000000050000001b000000\
         00000004000000002000000000010000\
         040000002f737276\
         020000000300000072756e020000002d76\
         0100000003000000413d62"
    );
    let golden = [
        (ToGuest::Base(Base { argv: vec![b"a".to_vec()] }), "090000001800000000000000010000000100000061"),
        (mount, "120000000200000000000000020100000000000001000000010000006101"),
        (ToGuest::Start(Box::new(start())), start_golden.as_str()),
        (ToGuest::Open(17), "000000000700000011000000"),
        (ToGuest::Stream(1, Piece::Data { bytes: b"hi".to_vec(), fin: true }), "0200000008010000010000006869"),
        (ToGuest::Stream(1, Piece::Credit(256)), "04000000090000000100000000010000"),
        (ToGuest::Stream(1, Piece::Reset), "000000000a00000001000000"),
        (ToGuest::Egress(3128), "020000001000000000000000380c"),
        (ToGuest::Measure, "000000000b00000000000000"),
        (ToGuest::Stop, "000000000d00000000000000"),
    ];
    for (frame, bytes) in golden {
        assert_eq!(hex(&guest_bytes(&frame)), bytes, "{frame:?}");
        assert_eq!(read_guest(&guest_bytes(&frame)), Ok(frame));
    }
    let rehearse = guest_bytes(&ToGuest::Rehearse(Box::new(start())));
    assert_eq!(hex(&rehearse), start_golden.replacen("9700000004", "970000000f", 1));
}

#[test]
fn frames_to_the_host_have_these_bytes() {
    let usage = "01000000000000000200000000000000030000000000000004000000";
    let ended = |payload: &str| format!("{payload}{usage}");
    let golden = [
        (
            ToHost::Hello(Hello { version: 2, uptime_ms: 2, turns_per_ms: 3 }),
            "0a000000010000000000000002000200000003000000".to_owned(),
        ),
        (ToHost::Mounted, "000000000300000000000000".to_owned()),
        (ToHost::Started, "000000000500000000000000".to_owned()),
        (ToHost::Listening, "000000000600000000000000".to_owned()),
        (ToHost::Open(1 << 31), "000000000700000000000080".to_owned()),
        (ToHost::Measured(USAGE), ended("1c0000000c00000000000000")),
        (ToHost::Ended(End::Exited(-1), USAGE), ended("250000000e0000000000000000ffffffff00000000")),
        (
            ToHost::Ended(End::ImageRefused("no".to_owned()), USAGE),
            ended("270000000e000000000000000700000000020000006e6f"),
        ),
    ];
    for (frame, bytes) in golden {
        assert_eq!(hex(&host_bytes(&frame)), bytes, "{frame:?}");
        assert_eq!(read_host(&host_bytes(&frame)), Ok(frame));
    }
}

#[test]
fn every_end_survives_the_way() {
    let ends = [
        End::Exited(3),
        End::Killed(9),
        End::OutOfMemory,
        End::EntryMissing,
        End::EntryRefused(8),
        End::NeverListened,
        End::Stopped,
        End::ImageRefused("why".to_owned()),
        End::AgentFailed("why".to_owned()),
    ];
    for end in ends {
        let frame = ToHost::Ended(end, USAGE);
        assert_eq!(read_host(&host_bytes(&frame)), Ok(frame));
    }
    let long = ToHost::Ended(End::AgentFailed("ä".repeat(2000)), USAGE);
    assert!(read_host(&host_bytes(&long)).is_ok());
}

#[test]
fn what_goes_the_other_way_is_refused() {
    assert_eq!(read_host(&guest_bytes(&ToGuest::Stop)), Err(WireError::Kind(13)));
    assert_eq!(read_guest(&host_bytes(&ToHost::Started)), Err(WireError::Kind(5)));
    let mut hello = host_bytes(&ToHost::Hello(Hello { version: 2, uptime_ms: 0, turns_per_ms: 0 }));
    hello[HEADER_BYTES] = 1;
    assert_eq!(read_host(&hello), Err(WireError::Version(1)));
}

#[test]
fn long_frames_are_refused_before_they_are_there() {
    let header = |length: usize, kind: u8| {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        bytes[4] = kind;
        Header::decode(&bytes)
    };
    assert_eq!(header(DATA_BYTES_MAX + 1, 8), Err(WireError::Garbage));
    assert_eq!(header(PAYLOAD_BYTES_MAX + 1, 4), Err(WireError::Garbage));
    assert!(header(DATA_BYTES_MAX, 8).unwrap().length_from_guest().is_ok());
    assert_eq!(header(DATA_BYTES_MAX, 14).unwrap().length_from_guest(), Err(WireError::Garbage));
    assert_eq!(header(usize::try_from(u32::MAX).unwrap(), 14), Err(WireError::Garbage));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", start());
    assert!(!shown.contains("A=b") && !shown.contains("231"), "{shown}");
}

proptest! {
    #[test]
    fn hostile_bytes_end_in_an_error_or_in_the_same_bytes(
        kind in 0_u8..20, flags in 0_u8..3, stream: u32, payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&[kind, flags, 0, 0]);
        bytes.extend_from_slice(&stream.to_le_bytes());
        bytes.extend_from_slice(&payload);
        if let Ok(frame) = read_host(&bytes) {
            prop_assert_eq!(read_host(&host_bytes(&frame)), Ok(frame));
        }
        if let Ok(frame) = read_guest(&bytes) {
            prop_assert_eq!(read_guest(&guest_bytes(&frame)), Ok(frame));
        }
    }

    #[test]
    fn a_changed_byte_never_breaks_the_reader(at in 0_usize..200, byte: u8, cut in 0_usize..220) {
        let mut bytes = guest_bytes(&ToGuest::Start(Box::new(start())));
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut.max(HEADER_BYTES));
        let _ = read_guest(&bytes);
        let mut bytes = host_bytes(&ToHost::Ended(End::AgentFailed("why".to_owned()), USAGE));
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut.max(HEADER_BYTES));
        let _ = read_host(&bytes);
    }

    #[test]
    fn any_workload_survives_the_way(
        argv in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
        env in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
        entropy: [u8; 32],
    ) {
        let mut whole = [0; 64];
        whole[..32].copy_from_slice(&entropy);
        let frame = ToGuest::Start(Box::new(Start { argv, env, entropy: whole, contract: Contract::Command, ..start() }));
        prop_assert_eq!(read_guest(&guest_bytes(&frame)), Ok(frame));
    }
}
