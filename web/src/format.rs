//! Quantities as people read them.

pub(crate) use protocol::words::count;

/// A duration: `840 µs`, `12.4 ms`, `1.32 s`, `2 m 05 s`, `3 h 20 m`.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..60_000_000 => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
        60_000_000..3_600_000_000 => format!("{} m {:02} s", us / 60_000_000, us / 1_000_000 % 60),
        _ => format!("{} h {:02} m", us / 3_600_000_000, us / 60_000_000 % 60),
    }
}

/// A number of bytes: `312 B`, `54.1 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    let text = protocol::ByteSize(count).to_string();
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    format!("{} {}", &text[..unit], &text[unit..])
}

/// A quantity as the API writes it, with a space before its unit: `128 MiB`, `30 s`.
pub(crate) fn spaced(quantity: impl std::fmt::Display) -> String {
    let text = quantity.to_string();
    match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(unit) if unit > 0 => format!("{} {}", text[..unit].trim_end(), &text[unit..]),
        _ => text,
    }
}

/// A number with its thousands apart: `41 200`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join("\u{202f}")
}

/// A number of things: `1 run`, `22 985 runs`.
pub(crate) fn many(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(number))
}

/// A large number in few figures: `7`, `412`, `41.2k`, `1.05M`.
pub(crate) fn compact(number: u64) -> String {
    match number {
        0..10_000 => thousands(number),
        10_000..1_000_000 => scaled(number, 1_000, "k"),
        1_000_000..1_000_000_000 => scaled(number, 1_000_000, "M"),
        _ => scaled(number, 1_000_000_000, "G"),
    }
}

/// In three figures, rounded down: what is not reached is not claimed.
fn scaled(number: u64, unit: u64, name: &str) -> String {
    let (whole, rest) = (number / unit, u128::from(number % unit) * 100 / u128::from(unit));
    match whole {
        0..10 => format!("{whole}.{rest:02}{name}"),
        10..100 => format!("{whole}.{}{name}", rest / 10),
        _ => format!("{}{name}", thousands(whole)),
    }
}

/// A share: `0 %`, `0.4 %`, `4.2 %`, `38 %`; `–` of nothing. What is not all is never `100 %`, what is not none never
/// `0 %`.
pub(crate) fn percent(part: u64, of: u64) -> String {
    if of == 0 {
        return "–".to_owned();
    }
    let mille = u64::try_from((u128::from(part) * 1_000 + u128::from(of) / 2) / u128::from(of)).unwrap_or(u64::MAX);
    match mille {
        0 if part == 0 => "0 %".to_owned(),
        0 => "< 0.1 %".to_owned(),
        1..100 => format!("{}.{} %", mille / 10, mille % 10),
        995..=1_000 if part < of => format!("{}.{} %", mille.min(999) / 10, mille.min(999) % 10),
        _ => format!("{} %", (mille + 5) / 10),
    }
}

/// The change from `before` to `now`: `+12 %`, `−3 %`, `±0 %`, `×14`; none where there was nothing before.
pub(crate) fn change(now: f64, before: f64) -> Option<String> {
    if !(before > 0.0 && now.is_finite()) {
        return None;
    }
    let percent = (now / before - 1.0) * 100.0;
    Some(match percent {
        percent if percent >= 1_000.0 => format!("×{:.0}", now / before),
        percent if percent >= 0.5 => format!("+{percent:.0} %"),
        percent if percent <= -0.5 => format!("−{:.0} %", -percent),
        _ => "±0 %".to_owned(),
    })
}

/// CPU time as hours: `0.004 CPU-h`, `1.25 CPU-h`, `41 CPU-h`; less than a thousandth of one as seconds: `1.25 CPU-s`.
pub(crate) fn cpu_hours(us: u64) -> String {
    match us {
        1..3_600_000 => format!("{} CPU-s", figures(wide(us) / 1e6)),
        _ => format!("{} CPU-h", figures(wide(us) / 3.6e9)),
    }
}

/// Memory over time, from KiB times milliseconds, as GiB-hours.
pub(crate) fn memory_hours(kib_ms: u64) -> String {
    format!("{} GiB-h", figures(wide(kib_ms) / (1_048_576.0 * 3.6e6)))
}

/// A quantity in three figures at least, without needless ones.
pub(crate) fn figures(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number < 0.001 => "< 0.001".to_owned(),
        number if number < 0.1 => format!("{number:.3}"),
        number if number < 10.0 => format!("{number:.2}"),
        number if number < 100.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
}

/// For charts and shares: exact up to 2^53, and near enough beyond.
#[allow(clippy::cast_precision_loss, reason = "what is drawn has fewer than 53 bits")]
pub(crate) fn wide(number: u64) -> f64 {
    number as f64
}

/// A point in time as the viewer's clock has it, by the day, the hour, the minute.
pub(crate) fn moment(at: protocol::Timestamp) -> String {
    local(at, &[("dateStyle", "medium"), ("timeStyle", "medium")])
}

/// The day, as the viewer's calendar has it: `30 Nov`.
pub(crate) fn day(at: protocol::Timestamp) -> String {
    local(at, &[("day", "numeric"), ("month", "short")])
}

/// The hour and minute, as the viewer's clock has them: `18:35`.
pub(crate) fn hour(at: protocol::Timestamp) -> String {
    local(at, &[("hour", "2-digit"), ("minute", "2-digit")])
}

/// By `Intl`, in the viewer's zone; the words are the page's own English.
fn local(at: protocol::Timestamp, options: &[(&str, &str)]) -> String {
    use web_sys::js_sys::{Date, Object, Reflect};
    let asked = Object::new();
    for (name, value) in options {
        drop(Reflect::set(&asked, &(*name).into(), &(*value).into()));
    }
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
    let date = Date::new(&(at.0 as f64).into());
    date.to_locale_string("en-GB", &asked).into()
}

/// How long ago, from milliseconds: `now`, `12 s ago`, `3 h ago`; or ahead: `in 6 d`.
pub(crate) fn relative(then_ms: i64, now_ms: i64) -> String {
    let apart = now_ms.saturating_sub(then_ms);
    // What is ahead is rounded: a link that ends after seven days does so "in 7 d", not in six and a bit.
    let half = |unit: u64| if apart < 0 { unit / 2 } else { 0 };
    let seconds = (apart.unsigned_abs() + half(1_000)) / 1_000;
    let amount = match seconds {
        0..5 => return "now".to_owned(),
        5..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", (seconds + half(60)) / 60),
        3_600..172_800 => format!("{} h", (seconds + half(3_600)) / 3_600),
        _ => format!("{} d", (seconds + half(86_400)) / 86_400),
    };
    if apart >= 0 { format!("{amount} ago") } else { format!("in {amount}") }
}

/// The time of the day, in UTC, to the millisecond: `18:35:36.250`.
pub(crate) fn clock(at: protocol::Timestamp) -> String {
    let ms = at.0.rem_euclid(86_400_000);
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

/// A text that begins as a sentence does.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The meaning of an HTTP status, in a word or three.
pub(crate) fn status_text(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// A word for a shell, quoted where it must be.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        bytes, change, compact, count, cpu_hours, many, memory_hours, micros, percent, relative, sentence, shell,
        spaced, thousands,
    };

    #[test]
    fn durations_have_three_figures_at_most() {
        let texts = [0, 840, 1_000, 12_449, 840_123, 1_320_000, 125_000_000, 12_000_000_000].map(micros);
        assert_eq!(texts, ["0 µs", "840 µs", "1.0 ms", "12.4 ms", "840 ms", "1.32 s", "2 m 05 s", "3 h 20 m"]);
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!(bytes(312), "312 B");
        assert_eq!(bytes(55_398), "54 KiB");
    }

    #[test]
    fn units_stand_apart() {
        let texts = [protocol::Millis(30_000).to_string(), protocol::ByteSize::mib(128).to_string(), "64".to_owned()];
        assert_eq!(texts.map(spaced), ["30 s", "128 MiB", "64"]);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [7, 120, 41_200, 1_000_000].map(thousands),
            ["7", "120", "41\u{202f}200", "1\u{202f}000\u{202f}000"]
        );
    }

    #[test]
    fn counts_beyond_what_a_float_holds_are_exact() {
        let beyond = (1_u64 << 53) + 1;
        assert_eq!(thousands(beyond), "9\u{202f}007\u{202f}199\u{202f}254\u{202f}740\u{202f}993");
        assert_eq!(percent(beyond - 1, beyond), "99.9 %");
        let sums = r#"{"runs": 9007199254740993, "failed": 18446744073709551615}"#;
        let read: std::collections::BTreeMap<String, u64> = serde_json::from_str(sums).unwrap();
        assert_eq!((read["runs"], read["failed"]), (beyond, u64::MAX));
    }

    #[test]
    fn large_counts_are_short() {
        assert_eq!([7, 9_999, 41_250, 1_059_000].map(compact), ["7", "9\u{202f}999", "41.2k", "1.05M"]);
        assert_eq!(compact(u64::MAX), "18\u{202f}446\u{202f}744\u{202f}073G");
    }

    #[test]
    fn shares_never_claim_all_or_nothing() {
        let texts = [(0, 0), (0, 9), (1, 10_000), (4, 1_000), (38, 100), (9_999, 10_000), (9, 9)];
        assert_eq!(
            texts.map(|(part, of)| percent(part, of)),
            ["–", "0 %", "< 0.1 %", "0.4 %", "38 %", "99.9 %", "100 %"]
        );
    }

    #[test]
    fn changes_have_a_sign() {
        let texts = [(12.0, 10.0), (9.7, 10.0), (10.0, 10.0), (140.0, 10.0)];
        let texts = texts.map(|(now, before)| change(now, before).unwrap());
        assert_eq!(texts, ["+20 %", "−3 %", "±0 %", "×14"]);
        assert_eq!(change(1.0, 0.0), None);
    }

    #[test]
    fn hours_of_use_keep_three_figures() {
        let texts = [0, 1_250_000, 3_600_000, 14_400_000, 4_500_000_000].map(cpu_hours);
        assert_eq!(texts, ["0 CPU-h", "1.25 CPU-s", "0.001 CPU-h", "0.004 CPU-h", "1.25 CPU-h"]);
        assert_eq!(memory_hours(1_048_576 * 3_600_000), "1.00 GiB-h");
    }

    #[test]
    fn times_are_told_from_now() {
        assert_eq!(relative(1_000, 2_000), "now");
        assert_eq!(relative(0, 12_000), "12 s ago");
        assert_eq!(relative(0, 90 * 60_000), "1 h ago");
        assert_eq!(relative(7 * 86_400_000, 0), "in 7 d");
        assert_eq!(relative(7 * 86_400_000 - 5_000, 0), "in 7 d");
        assert_eq!(relative(7_195_000, 0), "in 2 h");
        assert_eq!(relative(0, 7_195_000), "1 h ago");
    }

    #[test]
    fn clocks_have_milliseconds() {
        let clock = |text: &str| super::clock(text.parse().unwrap());
        assert_eq!(clock("2026-11-22T18:35:36.25Z"), "18:35:36.250");
        assert_eq!(clock("1969-12-31T23:59:59Z"), "23:59:59.000");
    }

    #[test]
    fn nouns_agree() {
        assert_eq!([count(1, "run"), count(0, "run")], ["1 run", "0 runs"]);
        assert_eq!([many(1, "run"), many(22_985, "run")], ["1 run", "22\u{202f}985 runs"]);
    }

    #[test]
    fn sentences_begin_with_a_capital() {
        assert_eq!(["a name", "`a` is taken", "", "état"].map(sentence), ["A name", "`a` is taken", "", "État"]);
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell("photo.jpg"), "photo.jpg");
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell(""), "''");
    }
}
