//! What of a request's head reaches a function, and what of its answer's head reaches the caller. Pure.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protocol::headers;

#[cfg(test)]
mod tests;

/// What a proxy tells of the request before it.
const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"];

/// Where a request came from and how it was addressed.
#[derive(Debug, Clone)]
pub(crate) struct Forward<'a> {
    pub(crate) client: IpAddr,
    pub(crate) host: &'a str,
    pub(crate) proto: &'a str,
    /// The path before the function's own; nothing: no header.
    pub(crate) prefix: &'a str,
}

/// Takes away what is not the function's to see, and says how the request came.
pub(crate) fn clean_request(headers: &mut HeaderMap, forward: &Forward<'_>) {
    fabric::strip_hop_by_hop(headers);
    strip_ours(headers);
    headers.remove(header::EXPECT);
    strip_keys(headers);
    strip_session(headers);
    set_forwarded(headers, forward);
}

/// Takes away what is not the function's to say.
pub(crate) fn clean_answer(headers: &mut HeaderMap, shared_origin: bool) {
    fabric::strip_hop_by_hop(headers);
    strip_ours(headers);
    retain(headers, &header::SET_COOKIE, |value| cookie_name(value) != headers::SESSION_COOKIE.as_bytes());
    let proxy_status = HeaderName::from_static("proxy-status");
    retain(headers, &proxy_status, |value| !value.trim_ascii_start().starts_with(b"crowdcloud"));
    if shared_origin {
        for name in headers::ORIGIN_WIDE {
            headers.remove(name);
        }
        headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// Takes away the `X-Forwarded-*` of the caller and sets ours.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, forward: &Forward<'_>) {
    for name in FORWARDED {
        headers.remove(name);
    }
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("x-forwarded-for", &forward.client.to_string());
    set("x-forwarded-proto", forward.proto);
    if !forward.host.is_empty() {
        set("x-forwarded-host", forward.host);
    }
    if !forward.prefix.is_empty() {
        set("x-forwarded-prefix", forward.prefix);
    }
}

/// Headers of ours that came from outside mean nothing.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with(headers::PREFIX)) {
        let ours: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with(headers::PREFIX)).cloned().collect();
        for name in ours {
            headers.remove(name);
        }
    }
}

/// An `Authorization` that holds one of our keys, in whatever form, stays here.
fn strip_keys(headers: &mut HeaderMap) {
    let key = headers::KEY_PREFIX.as_bytes();
    retain(headers, &header::AUTHORIZATION, |value| !value.windows(key.len()).any(|window| window == key));
}

/// Our session's cookie stays here; the function's own cookies pass.
fn strip_session(headers: &mut HeaderMap) {
    let session = headers::SESSION_COOKIE.as_bytes();
    let holds = |value: &HeaderValue| value.as_bytes().windows(session.len()).any(|window| window == session);
    if !headers.get_all(header::COOKIE).iter().any(holds) {
        return;
    }
    let kept: Vec<Vec<u8>> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && cookie_name(pair) != session)
        .map(<[u8]>::to_vec)
        .collect();
    headers.remove(header::COOKIE);
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept.join(&b"; "[..]))) {
        headers.insert(header::COOKIE, value);
    }
}

/// The name in `name=value; …`.
fn cookie_name(cookie: &[u8]) -> &[u8] {
    cookie.split(|&byte| byte == b'=' || byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The value of a cookie in a request.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found.trim() == name).then_some(value.trim()))
}

/// The key of ours in `Authorization: Bearer cck_…`.
pub(crate) fn bearer_key(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && token.starts_with(headers::KEY_PREFIX)).then_some(token)
    })
}

/// Keeps only some values of a header, in their order.
fn retain(headers: &mut HeaderMap, name: &HeaderName, keep: impl Fn(&[u8]) -> bool) {
    if !headers.get_all(name).iter().any(|value| !keep(value.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(name).iter().filter(|value| keep(value.as_bytes())).cloned().collect();
    headers.remove(name);
    for value in kept {
        headers.append(name.clone(), value);
    }
}

/// The size of a request's head as it came over the wire, about.
pub(crate) fn head_size(parts: &http::request::Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    target + headers
}

/// Whether the request wants to become something else than HTTP. An offer of HTTP/2 may be ignored, and some
/// clients make it with every request.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::UPGRADE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|protocol| !protocol.is_empty() && !protocol.eq_ignore_ascii_case(b"h2c"))
}
