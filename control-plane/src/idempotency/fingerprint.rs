//! What makes two requests with one `Idempotency-Key` the same request: what the caller asked for. That is the method, the
//! path, the query, the body and what describes it. What tracers, proxies and clients that try again add to a head may
//! differ, and so may the version that an alias means, the account's credential, and the notation of JSON. A function
//! without a reference and its alias `live` are one choice of a version, `f@v3` and `f` with the reference `v3` another.
//!
//! It has a key that is not in the database: a body may have a password, which a plain hash would let be guessed.

use http::request::Parts;
use protocol::job::{DeferredCall, HeaderBytes, SubmitArray, SubmitJob};
use protocol::{Digest, Reference, headers, wire};
use serde::Serialize;
use serde_json::Value;

use crate::identity::credentials::sha256_hex;

/// What fingerprints are made with: every control plane has the same, and no database.
pub(super) type Secret = [u8; 32];

/// The fingerprint of a request. No `Debug` shows what it was made of.
pub(super) struct Fingerprint {
    /// What is kept with the key.
    kept: String,
    /// What counts of the request.
    counts: String,
}

impl Fingerprint {
    /// Of a request to the public API.
    pub(super) fn of_api(secret: &Secret, parts: &Parts, body: &[u8]) -> Self {
        let path = parts.uri.path();
        let asked = match path {
            _ if path.ends_with("/jobs") => wire::read(body).ok().and_then(|job| json(&asked_job(job))),
            _ if path.ends_with("/jobs/arrays") => wire::read(body)
                .ok()
                .and_then(|array: SubmitArray| json(&SubmitArray { job: asked_job(array.job), inputs: array.inputs })),
            _ => None,
        };
        Self::of(secret, parts, body, asked)
    }

    /// Of a function's call that is answered later, as a gateway hands it on.
    pub(super) fn of_deferred(secret: &Secret, parts: &Parts, body: &[u8]) -> Self {
        let asked = wire::read(body).ok().and_then(|call: DeferredCall| json(&AskedCall::of(&call)));
        Self::of(secret, parts, body, asked)
    }

    /// `asked` is what counts of the body, where that is not all of it.
    fn of(secret: &Secret, parts: &Parts, body: &[u8], asked: Option<Value>) -> Self {
        let (method, path, query) = (parts.method.as_str(), parts.uri.path(), parts.uri.query());
        // As a value JSON has one notation: blanks and the order of names are gone.
        let asked = asked.or_else(|| serde_json::from_slice(body).ok());
        let counts = match asked {
            Some(asked) => json(&(method, path, query, asked)),
            None => json(&(method, path, query, Digest::of(body))),
        };
        let counts = counts.unwrap_or_default().to_string();
        Self { kept: blake3::keyed_hash(secret, counts.as_bytes()).to_hex().to_string(), counts }
    }

    /// What is kept with the key.
    pub(super) fn as_str(&self) -> &str {
        &self.kept
    }

    /// Whether the request that was kept is this one. The release before has kept it without a secret.
    pub(super) fn is(&self, kept: &str) -> bool {
        kept == self.kept || kept == sha256_hex(self.counts.as_bytes())
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
    /// What the store has of it. Each upload is another blob, with the same digest.
    #[serde(rename = "root")]
    stored: Option<Digest>,
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
            stored: call.blob.as_ref().map(|blob| blob.digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

    use super::*;

    const SECRET: Secret = [7; 32];

    fn api(uri: &str, body: &str) -> String {
        let (parts, ()) = Request::post(uri).body(()).unwrap().into_parts();
        Fingerprint::of_api(&SECRET, &parts, body.as_bytes()).kept
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
        let now = Fingerprint::of_api(&SECRET, &parts, b"{}");
        let earlier = sha256_hex(br#"["POST","/keys",null,{}]"#);
        assert!(now.is(&earlier) && now.is(now.as_str()) && !now.is(&sha256_hex(b"{}")));
    }

    #[test]
    fn without_the_secret_nobody_can_make_it() {
        let (parts, ()) = Request::post("/me/password").body(()).unwrap().into_parts();
        let body = br#"{"new":"a password"}"#;
        let (one, other) = (Fingerprint::of_api(&SECRET, &parts, body), Fingerprint::of_api(&[8; 32], &parts, body));
        assert_ne!(one.as_str(), other.as_str());
        assert!(!one.is(other.as_str()) && one.as_str() != sha256_hex(one.counts.as_bytes()));
    }
}
