//! What makes two requests with one `Idempotency-Key` the same request: what the caller asked for. That is the method, the
//! path, the query, the body and what describes it. What tracers, proxies and clients that try again add to a head may
//! differ, and so may the version that an alias means, the account's credential, and the notation of JSON. A function
//! without a reference and its alias `live` are one choice of a version, `f@v3` and `f` with the reference `v3` another.

use http::request::Parts;
use protocol::job::{DeferredCall, HeaderBytes, SubmitArray, SubmitJob};
use protocol::{Digest, Reference, headers, wire};
use serde::Serialize;
use serde_json::Value;

use crate::identity::credentials::sha256_hex;

/// The fingerprint of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// What is kept with the key.
    kept: String,
    /// What an earlier release has kept.
    earlier: String,
}

impl Fingerprint {
    /// Of a request to the public API.
    pub(super) fn of_api(parts: &Parts, body: &[u8]) -> Self {
        let path = parts.uri.path();
        let asked = match path {
            _ if path.ends_with("/jobs") => wire::read(body).ok().and_then(|job| json(&asked_job(job))),
            _ if path.ends_with("/jobs/arrays") => wire::read(body)
                .ok()
                .and_then(|array: SubmitArray| json(&SubmitArray { job: asked_job(array.job), inputs: array.inputs })),
            _ => None,
        };
        Self::of(parts, body, asked)
    }

    /// Of a function's call that is answered later, as a gateway hands it on.
    pub(super) fn of_deferred(parts: &Parts, body: &[u8]) -> Self {
        let asked = wire::read(body).ok().and_then(|call: DeferredCall| json(&AskedCall::of(&call)));
        Self::of(parts, body, asked)
    }

    /// `asked` is what counts of the body, where that is not all of it.
    fn of(parts: &Parts, body: &[u8], asked: Option<Value>) -> Self {
        let (method, path, query) = (parts.method.as_str(), parts.uri.path(), parts.uri.query());
        // As a value JSON has one notation: blanks and the order of names are gone.
        let asked = asked.or_else(|| serde_json::from_slice(body).ok());
        let counts = match asked {
            Some(asked) => json(&(method, path, query, asked)),
            None => json(&(method, path, query, Digest::of(body))),
        };
        Self {
            kept: sha256_hex(counts.unwrap_or_default().to_string().as_bytes()),
            earlier: sha256_hex(&[path.as_bytes(), body].join(&b'\n')),
        }
    }

    /// What is kept with the key.
    pub(super) fn as_str(&self) -> &str {
        &self.kept
    }

    /// Whether the request that was kept is this one.
    pub(super) fn is(&self, kept: &str) -> bool {
        kept == self.kept || kept == self.earlier
    }
}

fn json(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

/// A job without the headers that do not count, and with one notation of the version that is meant.
fn asked_job(mut job: SubmitJob) -> SubmitJob {
    job.headers = counted(&job.headers);
    if job.reference.is_none()
        && let Some((function, named)) = job.function.split_once('@')
        && let Ok(reference) = named.parse::<Reference>()
    {
        (job.function, job.reference) = (function.to_owned(), Some(reference));
    }
    job.reference = job.reference.take().filter(|reference| !reference.is_live());
    job
}

/// The headers that describe the body, in one order.
fn counted(all: &[(String, HeaderBytes)]) -> Vec<(String, HeaderBytes)> {
    let counts = all.iter().filter(|(name, _)| headers::describes_content(name));
    let mut counted: Vec<_> = counts.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    counted.sort();
    counted
}

/// What counts of a call.
#[derive(Serialize)]
struct AskedCall<'a> {
    target: String,
    method: &'a str,
    path: &'a str,
    headers: Vec<(String, HeaderBytes)>,
    body: Option<&'a str>,
    root: Option<Digest>,
}

impl<'a> AskedCall<'a> {
    fn of(call: &'a DeferredCall) -> Self {
        // Gateways of an earlier release do not tell what the caller has named.
        let target = if call.target.is_empty() { call.function.to_string() } else { call.target.clone() };
        let target = match target.split_once('@') {
            Some((function, Reference::LIVE)) => function.to_owned(),
            _ => target,
        };
        Self {
            target,
            method: &call.method,
            path: &call.path,
            headers: counted(&call.headers),
            body: call.body.as_deref(),
            root: call.root,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

    use super::*;

    fn api(uri: &str, body: &str) -> String {
        let (parts, ()) = Request::post(uri).body(()).unwrap().into_parts();
        Fingerprint::of_api(&parts, body.as_bytes()).kept
    }

    #[test]
    fn f21_the_notation_of_a_body_does_not_count() {
        let asked = api("/jobs", r#"{"function":"f","memory":"1MiB","labels":{"a":"1","b":"2"}}"#);
        assert_eq!(asked, api("/jobs", r#"{ "labels": {"b":"2", "a":"1"}, "memory": 1048576, "function": "f" }"#));
        assert_ne!(asked, api("/jobs", r#"{"function":"f","memory":"2MiB","labels":{"a":"1","b":"2"}}"#));
        assert_eq!(
            api("/keys", r#"{"name":"ci","scopes":["read"]}"#),
            api("/keys", r#"{"scopes":["read"],"name":"ci"}"#)
        );
        assert_ne!(api("/keys", r#"{"name":"ci"}"#), api("/queues", r#"{"name":"ci"}"#));
        assert_ne!(api("/queues/a/lease", ""), api("/queues/a/lease?x", ""));
        assert_ne!(api("/keys", "no JSON"), api("/keys", "no json"));
    }

    #[test]
    fn f21_of_a_jobs_headers_those_count_that_describe_its_input() {
        let with = |headers: Value| {
            let job = json!({"function": "f", "headers": headers});
            let array = json!({"job": job, "inputs": [{"text": "a"}]});
            [api("/jobs", &job.to_string()), api("/jobs/arrays", &array.to_string())]
        };
        let first = with(json!([["Content-Type", "text/csv"], ["traceparent", "00-1"], ["X-Retry-Count", "0"]]));
        assert_eq!(first, with(json!([["user-agent", "x"], ["traceparent", "00-2"], ["content-type", "text/csv"]])));
        for other in [json!([["content-type", "text/plain"]]), json!([["content-encoding", "gzip"]]), json!([])] {
            let other = with(other);
            assert!(first[0] != other[0] && first[1] != other[1]);
        }
    }

    #[test]
    fn f22_a_version_that_is_meant_in_two_ways_is_one() {
        let job = |job: Value| api("/jobs", &job.to_string());
        let live = job(json!({"function": "hello"}));
        assert_eq!(live, job(json!({"function": "hello@live"})));
        assert_eq!(live, job(json!({"function": "hello", "reference": "live"})));
        let third = job(json!({"function": "hello@v3"}));
        assert_eq!(third, job(json!({"function": "hello", "reference": "v3"})));
        let others = [json!({"function": "hello@canary"}), json!({"function": "hello@live", "reference": "v3"})];
        let others = others.map(job);
        assert!(live != third && !others.contains(&live) && !others.contains(&third));
    }

    #[test]
    fn f21_an_earlier_releases_row_is_known() {
        let (parts, ()) = Request::post("/keys").body(()).unwrap().into_parts();
        let now = Fingerprint::of_api(&parts, b"{}");
        assert!(now.is(&sha256_hex(b"/keys\n{}")) && now.is(now.as_str()) && !now.is(&sha256_hex(b"/keys\n")));
    }
}
