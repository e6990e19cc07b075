//! Refusals that the next request would only get again, since its account holds its share: for a moment they are repeated
//! here, and the control plane is not asked.
//!
//! ```text
//! change --known----> the same refusal
//!        \--unknown-> control plane --429 share_exceeded--> kept for --refusal-life, and never beyond Retry-After
//! ```
//!
//! A refusal is repeated to the very credential that got it, for the account that it named, the method and the route; and
//! only where it hangs on nothing else that a request says, nor on where it comes from. Nobody gains by what is kept: it
//! refuses, and permits nothing. A credential that has ended may be refused so once more.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, StatusCode};
use lru::LruCache;
use parking_lot::Mutex;
use protocol::{ByteSize, Code, Problem, headers, proxy_status};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::headers::{bearer_key, cookie};
use crate::response::{Response, ResponseBody};
use crate::stranger;

/// Longer refusals are not kept.
const REFUSAL_MAX: ByteSize = ByteSize::kib(2);

/// Where names and ids stand in the API's paths, these words are parts of a route.
const WORDS: [&str; 5] = ["accept", "arrays", "store", "tokens", "vouch"];

/// What one refusal stands for. Hashed with a secret of this process: nobody can look for two that are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Asked([u8; 32]);

struct Kept {
    headers: HeaderMap,
    body: Bytes,
    until: Instant,
}

/// The refusals of a moment ago; of too many the oldest go.
pub(crate) struct Refusals {
    secret: [u8; 32],
    life: Duration,
    kept: Mutex<LruCache<Asked, Kept>>,
}

impl Refusals {
    pub(crate) fn new(config: &Config) -> Self {
        let most = NonZeroUsize::new(config.refusals_max).unwrap_or(NonZeroUsize::MIN);
        Self { secret: rand::random(), life: config.refusal_life.duration(), kept: Mutex::new(LruCache::new(most)) }
    }

    /// What a refusal of this request would stand for; none where it would stand for this one request alone.
    pub(crate) fn asked(&self, head: &Parts) -> Option<Asked> {
        let changes = matches!(head.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
        if !changes || self.life.is_zero() || stranger::is_open(head.uri.path()) {
            return None;
        }
        let shown = head.headers.get_all(header::AUTHORIZATION).iter().count();
        let credential = match bearer_key(&head.headers) {
            Some(key) if shown == 1 => key,
            None if shown == 0 => cookie(&head.headers, headers::SESSION_COOKIE)?,
            _ => return None,
        };
        let account = head.headers.get(headers::ACCOUNT).map(http::HeaderValue::as_bytes);
        let mut hash = Sha256::new_with_prefix(self.secret);
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(credential.as_bytes());
        part(&[u8::from(account.is_some())]);
        part(account.unwrap_or_default());
        part(head.method.as_str().as_bytes());
        for segment in route(head.uri.path())? {
            part(segment.as_bytes());
        }
        Some(Asked(hash.finalize().into()))
    }

    /// The refusal that it would get again.
    pub(crate) fn repeat(&self, asked: &Asked, now: Instant) -> Option<Response> {
        let mut all = self.kept.lock();
        // What is read is not moved up: the oldest goes first.
        let kept = all.peek(asked)?;
        if now < kept.until {
            let mut response = http::Response::new(ResponseBody::Full(kept.body.clone()));
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            *response.headers_mut() = kept.headers.clone();
            return Some(response);
        }
        all.pop(asked);
        None
    }

    /// Keeps what the control plane has answered, where that is such a refusal.
    pub(crate) fn note(&self, asked: Asked, head: &http::response::Parts, body: &Bytes, now: Instant) {
        let Some(life) = self.life_of(head) else { return };
        let size = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        if size + body.len() <= REFUSAL_MAX.as_usize() {
            // Of its own: the piece that it came in may be larger.
            let body = Bytes::copy_from_slice(body);
            self.kept.lock().put(asked, Kept { headers: head.headers.clone(), body, until: now + life });
        }
    }

    /// For how long an answer is kept; none where it is no refusal that others of the route would get, too. Other codes
    /// are not such: a rate or a limit may depend on how much a request brings.
    fn life_of(&self, head: &http::response::Parts) -> Option<Duration> {
        if head.status != StatusCode::TOO_MANY_REQUESTS || head.headers.contains_key(header::SET_COOKIE) {
            return None;
        }
        let ours = Problem::from(Code::ShareExceeded).proxy_status();
        let told = head.headers.get(proxy_status::HEADER)?;
        if told.as_bytes() != ours.as_bytes() {
            return None;
        }
        let again = head.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
        Some(self.life.min(Duration::from_secs(again))).filter(|life| !life.is_zero())
    }
}

/// The route of a path of the API, segment by segment, with nothing in the place of names and ids. None where the share
/// may be another thing's than the account's, or is needed by some of its requests alone.
fn route(path: &str) -> Option<impl Iterator<Item = &str>> {
    let rest = path.strip_prefix("/api/v1/")?;
    let mut segments = rest.split('/');
    let (first, third) = (segments.next()?, segments.nth(1));
    // Passwords and codes are a user's, or a network's; and who finds a message does not wait for one.
    if first == "me" || (first == "queues" && third == Some("lease")) {
        return None;
    }
    Some(rest.split('/').enumerate().map(move |(place, segment)| {
        let is_name = place % 2 == 1 && first != "accounts" && !WORDS.contains(&segment);
        if is_name { "" } else { segment }
    }))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refusals(most: usize) -> Refusals {
        let mut config = Config::new("spool".into());
        config.refusals_max = most;
        Refusals::new(&config)
    }

    fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refusal(code: Code, retry_after: &str) -> http::response::Parts {
        let answer = http::Response::builder()
            .status(code.status())
            .header(proxy_status::HEADER, Problem::from(code).proxy_status())
            .header(header::RETRY_AFTER, retry_after);
        answer.body(()).unwrap().into_parts().0
    }

    const KEY: (&str, &str) = ("authorization", "Bearer cck_1");

    #[test]
    fn a06_one_refusal_stands_for_one_credential_account_method_and_route() {
        let refusals = refusals(8);
        let of = |method: &str, path: &str, headers: &[(&str, &str)]| refusals.asked(&head(method, path, headers));
        let deploy = of("POST", "/api/v1/functions/a/versions", &[KEY]);
        assert!(deploy.is_some());
        assert_eq!(deploy, of("POST", "/api/v1/functions/b/versions?x=1", &[KEY, ("idempotency-key", "1")]));
        let account = ("x-crowdcloud-account", "ada");
        let empty = ("x-crowdcloud-account", "");
        for other in [
            of("PUT", "/api/v1/functions/a/versions", &[KEY]),
            of("POST", "/api/v1/functions/a/rollback", &[KEY]),
            of("POST", "/api/v1/functions/a/versions/", &[KEY]),
            of("POST", "/api/v1/functions/a/versions", &[("authorization", "Bearer cck_2")]),
            of("POST", "/api/v1/functions/a/versions", &[("cookie", "cc_session=cck_2")]),
            of("POST", "/api/v1/functions/a/versions", &[KEY, account]),
            of("POST", "/api/v1/functions/a/versions", &[KEY, empty]),
        ] {
            assert!(other.is_some() && other != deploy);
        }
        assert_ne!(of("POST", "/api/v1/jobs/arrays", &[KEY]), of("POST", "/api/v1/jobs/x", &[KEY]));
        assert_ne!(of("DELETE", "/api/v1/accounts/a", &[KEY]), of("DELETE", "/api/v1/accounts/b", &[KEY]));
    }

    #[test]
    fn a06_what_another_request_may_get_otherwise_is_not_kept() {
        let refusals = refusals(8);
        for (method, path, headers) in [
            ("GET", "/api/v1/jobs", &[KEY][..]),
            ("HEAD", "/api/v1/jobs", &[KEY]),
            ("POST", "/api/v1/jobs", &[]),
            ("POST", "/api/v1/jobs", &[("authorization", "Basic YTpi"), ("cookie", "cc_session=s")]),
            ("POST", "/api/v1/jobs", &[("authorization", "Basic YTpi"), KEY]),
            ("POST", "/api/v1/sessions", &[KEY]),
            ("PUT", "/api/v1/me/password", &[KEY]),
            ("POST", "/api/v1/queues/inbox/lease", &[KEY]),
            ("POST", "/api/v2/jobs", &[KEY]),
        ] {
            assert_eq!(refusals.asked(&head(method, path, headers)), None, "{method} {path}");
        }
        let life = |code: Code, retry_after: &str| refusals.life_of(&refusal(code, retry_after));
        assert_eq!(life(Code::ShareExceeded, "1"), Some(Duration::from_millis(100)));
        for (code, retry_after) in [
            (Code::ShareExceeded, "0"),
            (Code::ShareExceeded, "soon"),
            (Code::RateLimited, "1"),
            (Code::ConcurrencyLimit, "1"),
            (Code::LimitReached, "1"),
            (Code::Overloaded, "1"),
        ] {
            assert_eq!(life(code, retry_after), None, "{code} {retry_after}");
        }
        let mut logs_in = refusal(Code::ShareExceeded, "1");
        logs_in.headers.insert(header::SET_COOKIE, HeaderValue::from_static("cc_session=s"));
        assert_eq!(refusals.life_of(&logs_in), None);
    }

    #[test]
    fn a06_refusals_are_few_small_and_soon_forgotten() {
        let (refusals, now) = (refusals(2), Instant::now());
        let answer = refusal(Code::ShareExceeded, "1");
        let note = |number: u8, size: usize| refusals.note(Asked([number; 32]), &answer, &vec![0; size].into(), now);
        let kept = |number: u8, at: Instant| refusals.repeat(&Asked([number; 32]), at).is_some();
        note(1, 3000);
        assert!(!kept(1, now), "too long");
        note(1, 500);
        note(2, 500);
        assert!(kept(1, now), "and it is the oldest still");
        note(3, 500);
        assert_eq!([1, 2, 3].map(|number| kept(number, now)), [false, true, true]);
        assert!(kept(2, now + Duration::from_millis(99)));
        assert!(!kept(2, now + Duration::from_millis(100)));
        assert_eq!(refusals.kept.lock().len(), 1, "what is over is gone");
    }

    #[test]
    fn the_bound_is_as_documented() {
        let rows = fabric::shares::documented(include_str!("../../docs/bounds.md"), "gateway");
        let bound = format!("`--refusals-max` of {} KiB at most, for `--refusal-life`", REFUSAL_MAX.0 / 1024);
        assert!(rows.iter().any(|row| row.contains(&bound) && row.contains("`refusals.rs`")), "{bound}");
    }
}
