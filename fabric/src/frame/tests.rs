//! The frames' committed bytes, and that any frame survives the way there.

use proptest::prelude::*;

use super::*;

const FROM: Uuid = Uuid::from_u128(0x0191_0000_0000_7000_8000_0000_0000_0001);
const EXCHANGE: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;

fn bytes_of(message: Message) -> Vec<u8> {
    message.encode().parts().concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Version 1, as it must be read for as long as it is spoken: change nothing here, add a version.
const GOLDEN: [(&str, &str); 13] = [
    (
        "open",
        "010100030123456789abcdef0123456789abcdef000000000191000000007000800000000000000100007530001000000000000268656c6c6f",
    ),
    ("accepted", "010200000123456789abcdef0123456789abcdef000000000191000000007000800000000000000100100000"),
    ("busy", "010300000123456789abcdef0123456789abcdef0000000066756c6c"),
    (
        "reply",
        "010400050123456789abcdef0123456789abcdef0000000001910000000070008000000000000001001000000000000200000004686575736564626f6479",
    ),
    ("data", "010500010123456789abcdef0123456789abcdef00000002626f6479"),
    ("credit", "010600000123456789abcdef0123456789abcdef0000000000040000"),
    ("end", "010700000123456789abcdef0123456789abcdef000000030300047472617001757365"),
    ("abort", "010800020123456789abcdef0123456789abcdef00000000676f6e65"),
    ("cancel", "010900020123456789abcdef0123456789abcdef0000000001"),
    ("heartbeat", "010a00020123456789abcdef0123456789abcdef00000007"),
    ("revoke", "010b00020123456789abcdef0123456789abcdef00000000"),
    ("revoked", "010c00000123456789abcdef0123456789abcdef00000000"),
    ("trailers", "010d00000123456789abcdef0123456789abcdef0000000200010001610000000131"),
];

fn examples() -> Vec<Message> {
    let frames = [
        Frame::Open {
            from: FROM,
            deadline_ms: 30_000,
            window: 1024 * 1024,
            head: "he".into(),
            body: "llo".into(),
            fin: true,
        },
        Frame::Accepted { from: FROM, window: 1024 * 1024 },
        Frame::Busy { reason: "full".to_owned() },
        Frame::Reply {
            from: FROM,
            window: 1024 * 1024,
            head: "he".into(),
            body: "body".into(),
            fin: true,
            end: Some("used".into()),
        },
        Frame::Data { body: "body".into(), fin: true },
        Frame::Credit { cost: 256 * 1024 },
        Frame::End { how: How::Aborted("trap".to_owned()), payload: Some("use".into()) },
        Frame::Abort { reason: "gone".to_owned() },
        Frame::Cancel { deadline: true },
        Frame::Heartbeat,
        Frame::Revoke,
        Frame::Revoked,
        Frame::Trailers { fields: b"\0\x01\0\x01a\0\0\0\x011".as_slice().into() },
    ];
    let sequences = [0, 0, 0, 0, 2, 0, 3, 0, 0, 7, 0, 0, 2];
    let callers = [true, false, false, false, false, false, false, true, true, true, true, false, false];
    let rest = sequences.into_iter().zip(callers);
    frames
        .into_iter()
        .zip(rest)
        .map(|(frame, (sequence, from_caller))| Message { exchange: EXCHANGE, from_caller, sequence, frame })
        .collect()
}

#[test]
fn golden_bytes() {
    for ((name, golden), message) in GOLDEN.into_iter().zip(examples()) {
        let bytes = bytes_of(message.clone());
        assert_eq!(hex(&bytes), golden, "{name}");
        assert_eq!(peek(&bytes), Some((EXCHANGE, message.from_caller)));
        assert_eq!(Message::decode(bytes.into()).unwrap(), message, "{name}");
    }
}

#[test]
fn golden_heads() {
    let request = http::Request::post("/p?q=1").header("a", "1").header("a", "2").body(()).unwrap().into_parts().0;
    let bytes = request_head_bytes(&request).unwrap();
    assert_eq!(hex(&bytes), "0b0004504f5354000000062f703f713d31000200016100000001310001610000000132");
    let response =
        http::Response::builder().status(404).header("x-y", &b"\xff\x80"[..]).body(()).unwrap().into_parts().0;
    let bytes = response_head_bytes(&response).unwrap();
    assert_eq!(hex(&bytes), "0b019400010003782d7900000002ff80");
    assert_eq!(ResponseHead::decode(bytes).unwrap().headers["x-y"].as_bytes(), b"\xff\x80");
}

#[test]
fn other_versions_are_named() {
    let mut bytes = bytes_of(examples().remove(0));
    bytes[0] = 9;
    let error = Message::decode(bytes.into()).unwrap_err();
    assert_eq!(error, FrameError::Version { version: 9, exchange: EXCHANGE, from_caller: true });
    assert_eq!(error.to_string(), "frames of version 9 are not spoken here, only 1 to 1");
}

fn any_headers() -> impl Strategy<Value = http::HeaderMap> {
    let value = prop::collection::vec(prop_oneof![Just(b'\t'), 32..=126u8, 128..=255u8], 0..40);
    prop::collection::vec(("[a-z][a-z0-9-]{0,12}", value), 0..20).prop_map(|pairs| {
        let mut headers = http::HeaderMap::new();
        for (name, value) in pairs {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, http::HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    })
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
        drop(Message::decode(bytes.clone().into()));
        drop(RequestHead::decode(bytes.clone().into()));
        drop(ResponseHead::decode(bytes.into()));
    }

    #[test]
    fn damaged_frames_never_panic(which in 0..13usize, at in 0..200usize, byte: u8, cut in 0..200usize) {
        let mut bytes = bytes_of(examples().remove(which));
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        drop(Message::decode(bytes.into()));
    }

    #[test]
    fn heads_arrive_as_they_were(
        headers in any_headers(), status in 100..1000u16, method in "[A-Z]{1,10}", path in "/[a-z0-9/._~%-]{0,60}",
    ) {
        let mut request = http::Request::builder().method(method.as_str()).uri(path).body(()).unwrap().into_parts().0;
        request.headers = headers.clone();
        let back = RequestHead::decode(request_head_bytes(&request).unwrap()).unwrap();
        prop_assert_eq!(&back.headers, &headers);
        prop_assert_eq!(back.headers.iter().collect::<Vec<_>>(), headers.iter().collect::<Vec<_>>());
        prop_assert_eq!((back.method, back.uri), (request.method, request.uri));

        prop_assert_eq!(&take_trailers(trailers_bytes(&headers).unwrap()).unwrap(), &headers);
        let mut response = http::Response::builder().status(status).body(()).unwrap().into_parts().0;
        response.headers = headers.clone();
        let back = ResponseHead::decode(response_head_bytes(&response).unwrap()).unwrap();
        prop_assert_eq!((back.status, back.headers), (response.status, headers));
    }
}
