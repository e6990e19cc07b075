//! Quantities: bytes, durations, credits, points in time, digests.
//!
//! In JSON a duration is an integer of milliseconds; 64-bit quantities are strings, because a browser's
//! numbers end at 2^53. What is only ever counted one by one (runs, messages, revisions) is an integer: at a million a
//! second it would take 285 years to get there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseUnitError {
    text: String,
    expected: &'static str,
}

pub(crate) fn parse_error(text: &str, expected: &'static str) -> ParseUnitError {
    ParseUnitError { text: text.chars().take(60).collect(), expected }
}

/// Either a JSON integer or a string.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a value that is neither an integer nor a text such as 128MiB or 30s")]
enum IntegerOrText<'a> {
    Unsigned(u64),
    Signed(i64),
    #[serde(borrow)]
    Text(std::borrow::Cow<'a, str>),
}

/// A number of bytes. Reads `134217728`, `"134217728"`, `"128MiB"` and `"1.5GiB"`; writes a string of digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count * 1024)
    }

    /// So many MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }

    /// Both together, at most `u64::MAX`.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The number as a length in memory, saturating on 32-bit machines.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (unit, size) in UNITS {
            if self.0 >= size {
                let tenths = u128::from(self.0) * 10 / u128::from(size);
                return match tenths % 10 {
                    0 => write!(f, "{}{unit}", tenths / 10),
                    tenth => write!(f, "{}.{tenth}{unit}", tenths / 10),
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || parse_error(text, "a size such as 128MiB");
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = trimmed[..digits].parse().map_err(|_| wrong())?;
        // One digit after the point, as it is displayed.
        let rest = &trimmed[digits..];
        let (tenths, rest) = match rest.as_bytes() {
            [b'.', tenth @ b'0'..=b'9', ..] => (u64::from(tenth - b'0'), &rest[2..]),
            _ => (0, rest),
        };
        let factor = match rest.trim_start() {
            "" | "B" => 1,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "TiB" | "Ti" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        if tenths > 0 && factor == 1 {
            return Err(wrong());
        }
        let whole = number.checked_mul(factor).ok_or_else(wrong)?;
        whole.checked_add(factor / 10 * tenths + factor % 10 * tenths / 10).map(Self).ok_or_else(wrong)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match IntegerOrText::deserialize(deserializer)? {
            IntegerOrText::Unsigned(number) => Ok(Self(number)),
            IntegerOrText::Signed(number) => Err(serde::de::Error::custom(format!("{number} is not a size"))),
            IntegerOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A duration in whole milliseconds. Reads `1500`, `"1500ms"`, `"30s"`, `"2m"`; writes an integer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self(count * 1000)
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1000 != 0 || ms == 0 => write!(f, "{ms}ms"),
            ms => write!(f, "{}s", ms / 1000),
        }
    }
}

impl FromStr for Millis {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || parse_error(text, "a duration such as 30s");
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = trimmed[..digits].parse().map_err(|_| wrong())?;
        let factor = match trimmed[digits..].trim_start() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match IntegerOrText::deserialize(deserializer)? {
            IntegerOrText::Unsigned(number) => Ok(Self(number)),
            IntegerOrText::Signed(number) => Err(serde::de::Error::custom(format!("{number} is not a duration"))),
            IntegerOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A duration in whole microseconds: what runs are measured in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Millis> for Micros {
    fn from(millis: Millis) -> Self {
        Self(millis.0.saturating_mul(1000))
    }
}

/// A sum of figures of runs, as the database keeps it: from nothing to `i64::MAX`, where it stops. Sums that runs add to
/// never wrap and never fail, whatever is added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Total(pub i64);

impl Total {
    /// The sum and this much more, or less.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// As much less as this is more.
    #[must_use]
    pub const fn negative(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl From<u64> for Total {
    fn from(count: u64) -> Self {
        Self(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

/// Credits, in millionths. Written as a string of digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroCredits(pub i64);

impl fmt::Display for MicroCredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000)
    }
}

impl Serialize for MicroCredits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MicroCredits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom("not an integer of micro-credits");
        match IntegerOrText::deserialize(deserializer)? {
            IntegerOrText::Unsigned(number) => i64::try_from(number).map(Self).map_err(|_| wrong()),
            IntegerOrText::Signed(number) => Ok(Self(number)),
            IntegerOrText::Text(text) => text.parse().map(Self).map_err(|_| wrong()),
        }
    }
}

/// A point in time, in milliseconds since 1970. RFC 3339 in UTC outside, an integer in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Now, by this machine's clock.
    #[cfg(feature = "mint")]
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// This time, and so much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; nothing where it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The first and the last millisecond that RFC 3339 has, whose years have four digits.
const WRITABLE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A time beyond the years 0 to 9999 is written as the nearest one within.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i128::from(self.0.clamp(*WRITABLE.start(), *WRITABLE.end()));
        let time = time::OffsetDateTime::from_unix_timestamp_nanos(at * 1_000_000).map_err(|_| fmt::Error)?;
        let text = time.format(&time::format_description::well_known::Rfc3339).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Timestamp {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || parse_error(text, "a time in RFC 3339");
        let time =
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).map_err(|_| wrong())?;
        // With an offset a time of the year 9999 can be one of the year 10000.
        let at = i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().filter(|at| WRITABLE.contains(at));
        at.map(Self).ok_or_else(wrong)
    }
}

/// A BLAKE3 digest, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| parse_error(text, "a digest of 64 hex digits"))?;
        Ok(Self(*hash.as_bytes()))
    }
}

macro_rules! serde_as_text {
    ($($name:ident: $description:literal),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use serde_as_text;

serde_as_text!(Timestamp: "time", Digest: "digest");

#[cfg(feature = "openapi")]
pub(crate) fn string_schema(description: &str) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).into()
}

#[cfg(feature = "openapi")]
mod schemas {
    use super::{ByteSize, Digest, MicroCredits, Millis, Timestamp, string_schema};
    use utoipa::openapi::RefOr;
    use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
    use utoipa::{PartialSchema, ToSchema};

    macro_rules! text_schema {
        ($($name:ident: $description:literal;)*) => {$(
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> { string_schema($description) }
            }
            impl ToSchema for $name {}
        )*};
    }
    text_schema! {
        ByteSize: "bytes, in digits";
        MicroCredits: "micro-credits, in digits";
        Timestamp: "RFC 3339, UTC";
        Digest: "BLAKE3, 64 hex digits";
    }
    impl PartialSchema for Millis {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new().schema_type(Type::Integer).description(Some("milliseconds")).into()
        }
    }
    impl ToSchema for Millis {}
}
