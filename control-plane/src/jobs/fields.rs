//! What a job may ask for: pure checks of its fields, each refusal with the allowed range.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use protocol::headers::{self, WrittenBy};
use protocol::job::{Asked, HeaderBytes, JobInput, NotBefore, SubmitJob};
use protocol::{ByteSize, Code, Field, Invalid, Limits, Millis, Reference, Timestamp, text};

use crate::config::Config;
use crate::error::{Result, invalid, refuse_field};

const LABELS_MAX: usize = 20;
const LABEL_NAME_MAX: usize = 63;
const LABEL_VALUE_MAX: usize = 255;
const URL_BYTES_MAX: usize = 2048;
/// The range of priorities, both ways.
const PRIORITY_MAX: i32 = 10;
/// Clocks differ: a time is past where it is older than this.
const PAST_MAX: Duration = Duration::from_secs(60);
const AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// A shorter pause would only burn the retries.
const BACKOFF_MIN: Millis = Millis(10);

/// The most that a job may ask for of a run.
pub(super) fn maxima(config: &Config) -> Limits {
    Limits { timeout: config.job_timeout_max, ..Limits::MAX }
}

/// How it is run and repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) limits: Limits,
    pub(super) retries: u32,
    pub(super) backoff: Millis,
    pub(super) priority: i32,
}

/// The terms, on top of the version's limits.
pub(super) fn terms(asked: &SubmitJob, version: Limits, config: &Config) -> Result<Terms> {
    fn value<T: Copy + PartialOrd + std::fmt::Display>(
        asked: Option<&Asked<T>>,
        name: &str,
        range: (T, T),
        default: T,
    ) -> Result<T, Invalid> {
        asked.map_or(Ok(default), |asked| asked.within(name, range.0, range.1))
    }
    let limits = asked.limits(version, &maxima(config))?;
    let backoff = (BACKOFF_MIN, config.job_backoff_max);
    Ok(Terms {
        limits,
        retries: value(asked.retries.as_ref(), "retries", (0, config.job_retries_max), 0)?,
        backoff: value(asked.backoff.as_ref(), "backoff", backoff, Millis::seconds(1))?,
        priority: value(asked.priority.as_ref(), "priority", (-PRIORITY_MAX, PRIORITY_MAX), 0)?,
    })
}

/// The function's name and what of it is meant.
pub(super) fn target(asked: &SubmitJob) -> Result<(&str, Option<Reference>)> {
    match asked.function.split_once('@') {
        None => Ok((&asked.function, asked.reference.clone())),
        Some(_) if asked.reference.is_some() => {
            Err(invalid("reference", "`function` and `reference` both name a version"))
        }
        Some((name, reference)) => match reference.parse() {
            Ok(reference) => Ok((name, Some(reference))),
            Err(_) => Err(invalid("function", format!("`{}` names no version", reference.escape_debug()))),
        },
    }
}

/// The request that the function gets.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, HeaderBytes)>,
}

/// Method, path and headers; what a caller writes is bounded as the head of a call is.
pub(super) fn request(asked: &SubmitJob, by: WrittenBy, head_max: ByteSize) -> Result<Request> {
    let method = asked.method.as_deref().unwrap_or("POST");
    let parsed = Method::from_bytes(method.as_bytes()).ok().filter(|m| !matches!(*m, Method::CONNECT | Method::TRACE));
    let method =
        parsed.ok_or_else(|| invalid("method", format!("method: `{}` is not supported", method.escape_debug())))?;
    let path = asked.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if by == WrittenBy::Caller {
        bounded(&path, &asked.headers, head_max)?;
    }
    check_path(&path)?;
    let mut kept = clean(&asked.headers, by)?;
    if matches!(asked.input, Some(JobInput::Json(_))) && !kept.iter().any(|(name, _)| name == "content-type") {
        kept.push(("content-type".to_owned(), "application/json".into()));
    }
    Ok(Request { method: method.as_str().to_owned(), path, headers: kept })
}

/// A path and query as they stand in a request's head: the first thing that is wrong, and how to write it.
fn check_path(path: &str) -> Result<()> {
    let wrong = |why: String| Err(invalid("path", format!("path: {why}")));
    let in_query = path.find('?').unwrap_or(path.len());
    let may_stand = |(at, c): (usize, char)| {
        let before = if at > in_query { "/?" } else { "/" };
        // What stands after `#` would be left out silently.
        c != '#' && format!("{before}{c}").parse::<PathAndQuery>().is_ok()
    };
    if let Some((at, c)) = path.char_indices().find(|found| !may_stand(*found)) {
        let encoded: String = c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        return wrong(format!("{c:?} at byte {at} cannot stand in a path; write it as {encoded}"));
    }
    match path.parse::<PathAndQuery>() {
        Ok(_) => Ok(()),
        Err(error) => wrong(error.to_string()),
    }
}

/// Refuses a head that gateways would not take of a call.
fn bounded(path: &str, asked: &[(String, HeaderBytes)], head_max: ByteSize) -> Result<()> {
    let count_max = headers::HEADERS_MAX;
    if asked.len() > count_max {
        return Err(invalid("headers", format!("headers: {} headers; at most {count_max} headers", asked.len())));
    }
    let size = headers::head_size(path.len(), asked.iter().map(|(name, value)| (name.len(), value.as_bytes().len())));
    if size <= head_max.as_usize() {
        return Ok(());
    }
    let longest = if path.len() > head_max.as_usize() { "path" } else { "headers" };
    Err(invalid(longest, format!("{longest}: path and headers have {size} bytes; at most {head_max} in all")))
}

/// Headers as the function sees them; what is malformed is refused, what is ours is left out.
fn clean(asked: &[(String, HeaderBytes)], by: WrittenBy) -> Result<Vec<(String, HeaderBytes)>> {
    let mut map = HeaderMap::with_capacity(asked.len());
    for (index, (name, value)) in asked.iter().enumerate() {
        let place = Field::from("headers").index(index);
        let bad = |part| invalid(place.index(part), format!("headers: `{}` is not a header", name.escape_debug()));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(0))?;
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad(1))?);
    }
    fabric::strip_hop_by_hop(&mut map);
    headers::clean(&mut map, by);
    Ok(from_map(&map))
}

/// A map as pairs.
pub(super) fn from_map(map: &HeaderMap) -> Vec<(String, HeaderBytes)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().into())).collect()
}

/// The pairs as a map; what is no header any more is left out.
pub(super) fn to_map(pairs: &[(String, HeaderBytes)]) -> HeaderMap {
    let parse = |(name, value): &(String, HeaderBytes)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in pairs.iter().filter_map(parse) {
        map.append(name, value);
    }
    map
}

/// The bytes of an input that stands in the request itself, in this field; none where it was uploaded, or is missing.
pub(crate) fn inline(asked: Option<&JobInput>, field: &Field, config: &Config) -> Result<Option<Bytes>> {
    let bytes = match asked {
        None | Some(JobInput::Upload(_)) => return Ok(None),
        Some(JobInput::Text(text)) => Bytes::from(text.clone()),
        Some(JobInput::Base64(text)) => {
            let bad = |error| invalid(field.key("base64"), format!("{field}: not base64: {error}"));
            STANDARD.decode(text).map(Bytes::from).map_err(bad)?
        }
        Some(JobInput::Json(value)) => Bytes::from(value.to_string()),
    };
    if bytes.len() as u64 > config.job_input_max.0 {
        let most = config.job_input_max;
        let detail = format!("{field}: {} bytes; at most {most} in the request: upload it first.", bytes.len());
        return Err(refuse_field(Code::BodyTooLarge, field.clone(), detail));
    }
    Ok(Some(bytes))
}

/// A time to come, at most a year ahead.
pub(super) fn not_before(asked: Option<NotBefore>, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(asked) = asked else { return Ok(None) };
    let at = match asked {
        NotBefore::At(at) => at,
        NotBefore::After(duration) => now.plus(duration.duration()),
    };
    let wrong = |what: String| Err(invalid("not_before", what));
    match at {
        at if now.since(at) > PAST_MAX => wrong(format!("not_before is {asked}, which is past; it is {now}")),
        at if at.since(now) > AHEAD_MAX => wrong(format!("not_before is {asked}; at most a year ahead")),
        at => Ok(Some(at)),
    }
}

/// Few and short.
pub(super) fn labels(asked: &BTreeMap<String, String>) -> Result<()> {
    let good = |(name, value): (&String, &String)| {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
        plain && (1..=LABEL_NAME_MAX).contains(&name.len()) && value.len() <= LABEL_VALUE_MAX
    };
    if asked.len() > LABELS_MAX || !asked.iter().all(good) {
        let why = format!(
            "labels: at most {LABELS_MAX}; a name has 1 to {LABEL_NAME_MAX} of a-z, A-Z, 0-9, `-`, `_`, `.`, `/`, \
             a value at most {LABEL_VALUE_MAX} bytes"
        );
        return Err(invalid("labels", why));
    }
    let all = Field::from("labels");
    asked.iter().try_for_each(|(name, value)| text::check(all.key(name), value))?;
    Ok(())
}

/// A URL that may be called. Names are looked up when it is called.
pub(super) fn webhook(asked: Option<&str>, private: bool) -> Result<Option<String>> {
    let Some(text) = asked else { return Ok(None) };
    let bad = |why: &str| invalid("webhook", format!("webhook: {why}"));
    let url = reqwest::Url::parse(text).map_err(|error| bad(&format!("not a URL: {error}")))?;
    if text.len() > URL_BYTES_MAX || !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() {
        return Err(bad(&format!("an http or https URL without a user, of at most {URL_BYTES_MAX} bytes")));
    }
    let host = url.host_str().ok_or_else(|| bad("it has no host"))?.trim_matches(['[', ']']).to_ascii_lowercase();
    let local = host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local");
    let address: Option<std::net::IpAddr> = host.parse().ok();
    if !private && (local || address.is_some_and(|address| !protocol::address::is_public(address))) {
        return Err(bad("it goes to a private address"));
    }
    Ok(Some(url.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(json: serde_json::Value) -> SubmitJob {
        let mut whole = serde_json::json!({"function": "f"});
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn ranges_are_named() {
        let config = Config::default();
        for (asked, range) in [
            (serde_json::json!({"cpus": -1}), "1 to 64"),
            (serde_json::json!({"cpus": 65}), "1 to 64"),
            (serde_json::json!({"memory": "1TiB"}), "1MiB to 64GiB"),
            (serde_json::json!({"memory": -5}), "1MiB to 64GiB"),
            (serde_json::json!({"retries": 21}), "0 to 20"),
            (serde_json::json!({"timeout": "9d"}), "10ms to 3600s"),
            (serde_json::json!({"priority": 11}), "-10 to 10"),
            (serde_json::json!({"backoff": 0}), "10ms to 3600s"),
        ] {
            let refused = terms(&job(asked.clone()), Limits::default(), &config).unwrap_err().problem();
            assert_eq!(refused.code, Code::InvalidField);
            assert!(refused.detail.contains(&format!("allowed: {range}")), "{asked}: {refused}");
        }
        let asked = job(serde_json::json!({"cpus": 2, "memory": "256MiB", "timeout": "10m", "retries": 3}));
        let terms = terms(&asked, Limits::default(), &config).unwrap();
        assert_eq!((terms.limits.cpus, terms.retries), (2, 3));
        assert_eq!(terms.limits.concurrency, Limits::default().concurrency);
    }

    #[test]
    fn f32_a_path_is_refused_for_the_true_reason() {
        let path = |path: &str| {
            let asked = job(serde_json::json!({"path": path}));
            request(&asked, WrittenBy::Caller, headers::HEAD_SIZE_MAX).map(|request| request.path)
        };
        for (bad, why) in [
            ("/a b", "path: ' ' at byte 2 cannot stand in a path; write it as %20"),
            ("a b", "path: ' ' at byte 2 cannot stand in a path; write it as %20"),
            ("/a?b c", "path: ' ' at byte 4 cannot stand in a path; write it as %20"),
            ("/a#b", "path: '#' at byte 2 cannot stand in a path; write it as %23"),
            ("/a\nb", "path: '\\n' at byte 2 cannot stand in a path; write it as %0A"),
            ("/<x>", "path: '<' at byte 1 cannot stand in a path; write it as %3C"),
        ] {
            let refused = path(bad).unwrap_err().problem();
            assert_eq!(refused.field.as_ref().map(Field::as_str), Some("path"));
            assert!(refused.detail.contains(why), "{bad:?}: {refused}");
        }
        for good in ["/", "/a%20b?c=d/../e", "/../a", "//", "/a;b=[c]|d"] {
            assert_eq!(path(good).unwrap(), good, "it goes as written");
        }
        assert_eq!(path("?a=b").unwrap(), "/?a=b");
    }

    #[test]
    fn webhooks_go_to_public_places() {
        for bad in [
            "http://127.0.0.1/x",
            "https://10.0.0.1",
            "http://[::1]:80/",
            "http://localhost:9/",
            "http://2130706433/",
            "http://169.254.169.254/latest",
            "ftp://example.com",
            "nonsense",
            "http://user:word@example.com/",
        ] {
            assert!(webhook(Some(bad), false).is_err(), "{bad}");
        }
        assert!(webhook(Some("http://127.0.0.1:9/x"), true).is_ok(), "where the operator allows it");
        assert_eq!(
            webhook(Some("https://example.com/x?y"), false).unwrap().as_deref(),
            Some("https://example.com/x?y")
        );
    }

    #[test]
    fn times_to_come() {
        let now = Timestamp(1_000_000_000_000);
        let at = |ms: i64| not_before(Some(NotBefore::At(Timestamp(now.0 + ms))), now);
        assert!(at(-61_000).is_err());
        assert!(at(-59_000).is_ok(), "clocks differ");
        assert!(at(400 * 86_400_000).is_err(), "more than a year ahead");
        let after = |seconds: u64| not_before(Some(NotBefore::After(Millis::seconds(seconds))), now);
        assert_eq!(after(7200).unwrap(), Some(Timestamp(now.0 + 7_200_000)));
        assert!(after(400 * 86_400).is_err() && after(u64::MAX / 1000).is_err());
    }

    #[test]
    fn a22_what_is_ours_or_a_proxys_is_left_out() {
        let pair = |name: &str, value: &str| (name.to_owned(), HeaderBytes::from(value));
        let asked = [
            pair("X-CrowdCloud-Ticket", "x"),
            pair("Host", "elsewhere"),
            pair("Authorization", "Bearer cck_1_2"),
            pair("Cookie", "a=b; cc_session=x"),
            pair("Connection", "close, X-Hop"),
            pair("X-Hop", "x"),
            pair("Proxy-Authorization", "x"),
            pair("Forwarded", "for=1.2.3.4"),
            pair("X-Forwarded-For", "1.2.3.4"),
            pair("X_Forwarded_Host", "elsewhere"),
            pair("X-Real-IP", "1.2.3.4"),
            pair("X_CrowdCloud_Run", "x"),
            pair("Accept", "text/plain"),
            pair("Idempotency-Key", "of the function's own"),
        ];
        let by_caller = |asked: &[_]| clean(asked, WrittenBy::Caller);
        let kept =
            [pair("cookie", "a=b"), pair("accept", "text/plain"), pair("idempotency-key", "of the function's own")];
        let mut cleaned = by_caller(&asked).unwrap();
        cleaned.sort_by_key(|pair| kept.iter().position(|wanted| wanted == pair));
        assert_eq!(cleaned, kept);
        assert!(by_caller(&[pair("bad name", "x")]).is_err() && by_caller(&[pair("x", "a\nb")]).is_err());
        let told = [pair("x-forwarded-for", "192.0.2.1")];
        assert_eq!(clean(&told, WrittenBy::Gateway).unwrap(), told, "a gateway knows");
    }

    #[test]
    fn f24_a_jobs_head_is_bounded_as_a_calls_is() {
        let head_max = headers::HEAD_SIZE_MAX;
        let take = |json: serde_json::Value| request(&job(json), WrittenBy::Caller, head_max);
        let field = |refused: Result<Request>| refused.unwrap_err().problem().field.unwrap().to_string();
        let long = |bytes: usize| format!("/?q={}", "x".repeat(bytes));
        assert_eq!(take(serde_json::json!({"path": long(10_240)})).unwrap().path.len(), 10_244);
        assert_eq!(field(take(serde_json::json!({"path": long(33_000)}))), "path");
        let headers = serde_json::json!([["a", "x".repeat(20_000)], ["b", "x".repeat(20_000)]]);
        assert_eq!(field(take(serde_json::json!({"headers": headers}))), "headers");
        assert_eq!(field(take(serde_json::json!({"headers": vec![["a", "b"]; 129]}))), "headers");
        assert_eq!(field(take(serde_json::json!({"path": "/a b"}))), "path");
        let kept = take(serde_json::json!({"headers": [["X-Name", "Gr\u{fc}n"], ["X-Raw", {"base64": "R3L8bg=="}]]}));
        let kept: Vec<Vec<u8>> =
            to_map(&kept.unwrap().headers).values().map(|value| value.as_bytes().to_vec()).collect();
        assert_eq!(kept, ["Gr\u{fc}n".as_bytes(), b"Gr\xfcn"]);
    }
}
