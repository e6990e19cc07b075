//! What of a request's head reaches a function, and what of its answer's head reaches the caller. Pure.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use protocol::headers::{self, ToCaller, WrittenBy, cookie_name, is_our_cookie, remove_where, retain};

use crate::address::FunctionAddress;

#[cfg(test)]
mod tests;

/// The longest value of a cookie's attribute (RFC 6265bis, 5.7).
const COOKIE_PATH_BYTES_MAX: usize = 1024;

/// Ways to log in that a browser keeps for a whole origin, and asks its user for.
const KEPT_LOG_INS: [&str; 4] = ["basic", "digest", "ntlm", "negotiate"];

/// Where a request came from and how it was addressed.
#[derive(Debug, Clone)]
pub(crate) struct Forward<'a> {
    pub(crate) client: IpAddr,
    pub(crate) host: &'a str,
    pub(crate) proto: &'a str,
    /// The path before the function's own; nothing: no header.
    pub(crate) prefix: &'a str,
}

/// Makes a request's head what the function shall see; none where that cannot be.
pub(crate) fn for_function(head: &mut Parts, address: &FunctionAddress, forward: &Forward<'_>) -> Option<()> {
    let own = address.own_uri(&head.uri)?;
    clean_request(&mut head.headers, forward);
    let bare = address.bare_target(&head.uri).and_then(|target| HeaderValue::from_bytes(target.as_bytes()).ok());
    if let Some(target) = bare {
        head.headers.insert("x-forwarded-uri", target);
    }
    head.uri = own;
    Some(())
}

/// Takes away what is not the function's to see, and says how the request came.
fn clean_request(headers: &mut HeaderMap, forward: &Forward<'_>) {
    let trailers = fabric::wants_trailers(headers);
    fabric::strip_hop_by_hop(headers);
    headers::clean(headers, WrittenBy::Connection);
    set_forwarded(headers, forward);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The names of trailers that a function announces and may send; none where it announces none.
pub(crate) fn announced_trailers(headers: &HeaderMap) -> Option<HeaderValue> {
    let names = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    names_of_trailers(names.flat_map(|value| value.split(',')).map(str::trim))
}

/// What `Trailer` says of these names; none where none may be sent.
pub(crate) fn names_of_trailers<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let names: Vec<&str> = names.filter(|name| !name.is_empty() && headers::may_trail(name)).collect();
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

/// Takes away trailers that a function may not send.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| !headers::may_trail(name));
}

/// Takes away what is not the function's to say. `prefix` is the path of a function that shares the portal's origin,
/// and empty for one that has a host of its own.
pub(crate) fn clean_response(headers: &mut HeaderMap, prefix: &str) {
    fabric::strip_hop_by_hop(headers);
    strip_ours(headers);
    // Whoever passes trailers on says so.
    headers.remove(header::TRAILER);
    retain(headers, &header::SET_COOKIE, |value| !is_our_cookie(cookie_name(value)));
    confine_cookies(headers, prefix);
    let proxy_status = HeaderName::from_static(protocol::proxy_status::HEADER);
    retain(headers, &proxy_status, |value| !value.trim_ascii_start().starts_with(b"crowdcloud"));
    if !prefix.is_empty() {
        remove_where(headers, |name| headers::row(name).to_caller == ToCaller::OwnHost);
        retain(headers, &header::WWW_AUTHENTICATE, |value| !asks_for_log_in(value));
        headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// Whether a challenge would have the browser ask for a password, and send it to all of the origin.
fn asks_for_log_in(challenges: &[u8]) -> bool {
    let mut words = challenges.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-'));
    words.any(|word| KEPT_LOG_INS.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes())))
}

/// A function's cookies are its own: they go to no other host, and on a shared origin to no path but its own, so that
/// it can neither read nor overfill what others send there.
fn confine_cookies(headers: &mut HeaderMap, prefix: &str) {
    if !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let confined: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter_map(|cookie| HeaderValue::from_bytes(&confined(cookie.as_bytes(), prefix)).ok())
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in confined {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// A cookie without `Domain`, and with a path below the prefix.
fn confined(cookie: &[u8], prefix: &str) -> Vec<u8> {
    let mut parts = cookie.split(|&byte| byte == b';');
    let mut kept = parts.next().unwrap_or_default().to_vec();
    let mut path: &[u8] = b"";
    for part in parts {
        let name = cookie_name(part);
        if name.eq_ignore_ascii_case(b"domain") {
            continue;
        }
        if name.eq_ignore_ascii_case(b"path") && !prefix.is_empty() {
            // The last one counts (RFC 6265, 5.3).
            path = part.splitn(2, |&byte| byte == b'=').nth(1).unwrap_or_default().trim_ascii();
            continue;
        }
        kept.push(b';');
        kept.extend_from_slice(part);
    }
    if !prefix.is_empty() {
        kept.extend_from_slice(b"; Path=");
        kept.extend_from_slice(prefix.as_bytes());
        // The function may know its prefix, or think that it is at the root.
        let own = match path.strip_prefix(prefix.as_bytes()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
            _ if path.starts_with(b"/") => path,
            _ => b"/",
        };
        // Browsers pass over a longer one, and take the folder above for it.
        let fits = !own.is_empty() && prefix.len() + own.len() <= COOKIE_PATH_BYTES_MAX;
        kept.extend_from_slice(if fits { own } else { b"/" });
    }
    kept
}

/// Takes away what the caller says in the place of a proxy, and sets ours.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, forward: &Forward<'_>) {
    remove_where(headers, headers::is_told_by_proxies);
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
    remove_where(headers, headers::is_ours);
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

/// The size of a request's head as it came over the wire, about.
pub(crate) fn head_size(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    headers::head_size(target, parts.headers.iter().map(|(name, value)| (name.as_str().len(), value.len())))
}

/// Whether the body's framing is what we read: `chunked` once, and nothing around it. Others on the way might read two
/// of them, or a compression below it, otherwise than we do.
pub(crate) fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii);
    codings.next().is_none_or(|first| first.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
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
