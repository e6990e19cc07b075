//! Quantities survive JSON, also in a browser, whose numbers end at 2^53.

use proptest::prelude::*;

use crate::{ByteSize, Digest, MicroCredits, Millis, Timestamp};

#[test]
fn what_people_write() {
    for (text, bytes) in [
        ("0", 0),
        ("17", 17),
        ("1B", 1),
        ("1KiB", 1024),
        (" 128 MiB ", 128 << 20),
        ("2GiB", 2 << 30),
        ("1.5KiB", 1536),
        ("1MB", 1_000_000),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for text in [
        "",
        "MiB",
        "-1",
        "1.5",
        "1.5B",
        "1.MiB",
        "1.55MiB",
        ".5MiB",
        "1XB",
        "18446744073709551616",
        "18446744073709551615KiB",
        "١",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    for (text, ms) in [("250ms", 250), ("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000)] {
        assert_eq!(text.parse(), Ok(Millis(ms)), "{text}");
    }
    for text in ["", "s", "250", "-1s", "1.5s", "1w", "18446744073709551615d"] {
        assert!(text.parse::<Millis>().is_err(), "{text}");
    }
}

#[test]
fn what_people_read() {
    for (bytes, text) in
        [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (128 << 20, "128MiB"), (u64::MAX, "16777215.9TiB")]
    {
        assert_eq!(ByteSize(bytes).to_string(), text);
    }
    for (ms, text) in [(0, "0ms"), (1500, "1500ms"), (30_000, "30s")] {
        assert_eq!(Millis(ms).to_string(), text);
    }
    for (micro, text) in
        [(0, "0.000000"), (1_500_000, "1.500000"), (-1, "-0.000001"), (i64::MIN, "-9223372036854.775808")]
    {
        assert_eq!(MicroCredits(micro).to_string(), text);
    }
    assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(Timestamp(1_795_336_980_123).to_string(), "2026-11-22T08:43:00.123Z");
}

#[test]
fn numbers_are_read_where_text_is_written() {
    assert_eq!(serde_json::from_str::<ByteSize>("134217728").unwrap(), ByteSize::mib(128));
    assert_eq!(serde_json::from_str::<ByteSize>("\"128MiB\"").unwrap(), ByteSize::mib(128));
    assert_eq!(serde_json::to_string(&ByteSize::mib(128)).unwrap(), "\"134217728\"");
    assert_eq!(serde_json::from_str::<MicroCredits>("-5").unwrap(), MicroCredits(-5));
    assert_eq!(serde_json::from_str::<Millis>("\"30s\"").unwrap(), Millis::seconds(30));
    assert!(serde_json::from_str::<ByteSize>("-1").is_err());
    assert!(serde_json::from_str::<ByteSize>("1.5").is_err());
    assert!(serde_json::from_str::<MicroCredits>("9223372036854775808").is_err());
}

/// Times that RFC 3339 can write: four digits of a year.
fn any_time() -> impl Strategy<Value = i64> {
    -62_167_219_200_000..=253_402_300_799_999_i64
}

proptest! {
    #[test]
    fn quantities_come_back(bytes: u64, ms: u64, micro: i64, at in any_time(), digest: [u8; 32]) {
        let all = (ByteSize(bytes), Millis(ms), MicroCredits(micro), Timestamp(at), Digest(digest));
        let json = serde_json::to_string(&all).unwrap();
        prop_assert_eq!(serde_json::from_str::<(ByteSize, Millis, MicroCredits, Timestamp, Digest)>(&json).unwrap(), all);
        prop_assert_eq!(Timestamp(at).to_string().parse(), Ok(Timestamp(at)));
        prop_assert_eq!(Digest(digest).to_string().parse(), Ok(Digest(digest)));
    }

    /// A size that was shown can be given back: within the tenth that was shown.
    #[test]
    fn a_size_that_is_shown_can_be_read(bytes: u64) {
        let read: ByteSize = ByteSize(bytes).to_string().parse().unwrap();
        prop_assert!(read.0 <= bytes && bytes - read.0 <= bytes / 10);
    }

    #[test]
    fn any_text_is_judged_calmly(text: String) {
        let _ = (text.parse::<ByteSize>(), text.parse::<Millis>(), text.parse::<Timestamp>());
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn time_does_not_overflow(at: i64, ms: u64) {
        let later = Timestamp(at).plus(std::time::Duration::from_millis(ms));
        prop_assert!(later >= Timestamp(at));
        prop_assert!(Timestamp(at).since(later).is_zero());
    }
}

#[test]
fn every_time_can_be_written() {
    for at in [i64::MIN, -62_167_219_200_001, -1, 0, 253_402_300_799_999, 253_402_300_800_000, i64::MAX] {
        let text = Timestamp(at).to_string();
        assert_eq!(serde_json::to_string(&Timestamp(at)).unwrap(), format!("\"{text}\""));
        let read: Timestamp = text.parse().unwrap();
        assert_eq!(read.0, at.clamp(-62_167_219_200_000, 253_402_300_799_999));
    }
    for text in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "10000-01-01T00:00:00Z"] {
        text.parse::<Timestamp>().unwrap_err();
    }
}
