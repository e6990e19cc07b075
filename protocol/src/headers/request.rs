//! What of a request's head reaches a function, by the table. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{About, CHALLENGE_COOKIE, DEVICE_COOKIE, KEY_PREFIX, SESSION_COOKIE, ToFunction, is_common_name, row};

/// Cookies that a function neither gets nor sets.
const OUR_COOKIES: [&str; 3] = [SESSION_COOKIE, DEVICE_COOKIE, CHALLENGE_COOKIE];

/// Where a head comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenBy {
    /// A caller, on a connection: its host and its length are checked already.
    Connection,
    /// Whoever submits a job.
    Caller,
    /// A gateway, which has cleaned it and said how the request came.
    Gateway,
}

/// Takes away what is not the caller's to say, or not the function's to see. Headers of one connection are taken away
/// by whoever ends the connection.
pub fn clean(headers: &mut HeaderMap, by: WrittenBy) {
    remove_where(headers, |name| {
        if !is_common_name(name) {
            return true;
        }
        let row = row(name);
        match row.to_function {
            ToFunction::Passes | ToFunction::InPart => false,
            ToFunction::LeftOut => true,
            ToFunction::Ours => match by {
                WrittenBy::Connection => row.about == About::Way,
                WrittenBy::Caller => true,
                WrittenBy::Gateway => false,
            },
        }
    });
    strip_keys(headers);
    strip_session(headers);
    strip_preferences(headers);
}

/// Takes away headers by their names.
pub fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Keeps only some values of a header, in their order.
pub fn retain(headers: &mut HeaderMap, name: &HeaderName, keep: impl Fn(&[u8]) -> bool) {
    if !headers.get_all(name).iter().any(|value| !keep(value.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(name).iter().filter(|value| keep(value.as_bytes())).cloned().collect();
    headers.remove(name);
    for value in kept {
        headers.append(name.clone(), value);
    }
}

/// An `Authorization` that holds one of our keys, in whatever form, stays here.
fn strip_keys(headers: &mut HeaderMap) {
    let key = KEY_PREFIX.as_bytes();
    retain(headers, &header::AUTHORIZATION, |value| !value.windows(key.len()).any(|window| window == key));
}

/// Cookies of ours stay here; the function's own cookies pass.
fn strip_session(headers: &mut HeaderMap) {
    let holds = |value: &HeaderValue| {
        let value = value.as_bytes();
        OUR_COOKIES.iter().any(|ours| value.windows(ours.len()).any(|window| window == ours.as_bytes()))
    };
    if headers.get_all(header::COOKIE).iter().any(holds) {
        rewrite(headers, &header::COOKIE, b';', b"; ", |pair| !is_our_cookie(cookie_name(pair)));
    }
}

/// `respond-async` is for the gateway, and so is `wait` beside it (RFC 7240).
fn strip_preferences(headers: &mut HeaderMap) {
    const PREFER: HeaderName = HeaderName::from_static("prefer");
    let name = |preference: &[u8]| {
        let name = preference.split(|&byte| byte == b'=' || byte == b';').next().unwrap_or_default().trim_ascii();
        name.to_ascii_lowercase()
    };
    let mut all = headers.get_all(PREFER).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    if all.any(|preference| name(preference) == b"respond-async") {
        let others = |preference: &[u8]| !matches!(name(preference).as_slice(), b"respond-async" | b"wait");
        rewrite(headers, &PREFER, b',', b", ", others);
    }
}

/// One header of the parts that are kept; none where none is.
fn rewrite(headers: &mut HeaderMap, name: &HeaderName, between: u8, join: &[u8], keep: impl Fn(&[u8]) -> bool) {
    let kept: Vec<Vec<u8>> = headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == between))
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty() && keep(part))
        .map(<[u8]>::to_vec)
        .collect();
    headers.remove(name);
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept.join(join))) {
        headers.insert(name.clone(), value);
    }
}

/// Whether a cookie of this name is the platform's.
#[must_use]
pub fn is_our_cookie(name: &[u8]) -> bool {
    OUR_COOKIES.iter().any(|ours| ours.as_bytes() == name)
}

/// The name in `name=value; …`.
#[must_use]
pub fn cookie_name(cookie: &[u8]) -> &[u8] {
    cookie.split(|&byte| byte == b'=' || byte == b';').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, ToFunction, UNCOMMON};
    use super::*;

    fn head(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// The table is what happens: each of its names, from each of the three places.
    #[test]
    fn f16_every_row_is_followed_in_calls_deferred_calls_and_jobs() {
        for row in &TABLE {
            for name in row.names {
                let name = name.replace('*', "anything");
                let left = [WrittenBy::Connection, WrittenBy::Caller, WrittenBy::Gateway].map(|by| {
                    let mut headers = head(&[(&name, "a=1"), (&name.replace('-', "_"), "a=1")]);
                    clean(&mut headers, by);
                    headers.len()
                });
                // Without `-` both names are one, with two values; else the second is always left out.
                let kept = if name.contains('-') { 1 } else { 2 };
                let wanted = match row.to_function {
                    ToFunction::Passes | ToFunction::InPart => [kept; 3],
                    ToFunction::LeftOut => [0; 3],
                    ToFunction::Ours if row.about == About::Way => [0, 0, kept],
                    ToFunction::Ours => [kept, 0, kept],
                };
                assert_eq!(left, wanted, "{name}");
            }
        }
    }

    #[test]
    fn names_that_are_one_variable_to_cgi_are_left_out() {
        assert_eq!(UNCOMMON.to_function, ToFunction::LeftOut);
        for by in [WrittenBy::Connection, WrittenBy::Caller, WrittenBy::Gateway] {
            let odd = ["Content_Length", "X_Forwarded_For", "content_type", "x_mine", "x-my_own", "_", "x.mine", "x+y"];
            let mut headers = head(&odd.map(|name| (name, "1")));
            headers.append("x-mine", HeaderValue::from_static("2"));
            clean(&mut headers, by);
            let kept: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            assert_eq!(kept, [("x-mine", &b"2"[..])], "{by:?}");
        }
    }

    #[test]
    fn f16_what_is_the_platforms_is_taken_out_of_values() {
        for by in [WrittenBy::Connection, WrittenBy::Caller, WrittenBy::Gateway] {
            let mut headers = head(&[
                ("authorization", "Bearer cck_1_2"),
                ("authorization", "Basic dXNlcjpwYXNz"),
                ("cookie", "a=1; cc_session=x; b=2"),
                ("prefer", "respond-async, return=minimal"),
                ("prefer", "wait=5; x=y"),
            ]);
            clean(&mut headers, by);
            let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            let wanted =
                [("authorization", "Basic dXNlcjpwYXNz"), ("cookie", "a=1; b=2"), ("prefer", "return=minimal")];
            assert_eq!(pairs.len(), wanted.len(), "{by:?}: {pairs:?}");
            assert!(wanted.iter().all(|pair| pairs.contains(pair)), "{by:?}: {pairs:?}");
        }
        let mut plain = head(&[("prefer", "wait=5, return=minimal")]);
        clean(&mut plain, WrittenBy::Connection);
        assert_eq!(plain["prefer"], "wait=5, return=minimal", "nothing of it is the gateway's");
    }
}
