//! Credentials: opaque random tokens, kept as their SHA-256. Keys and sessions work alike.

use http::header::GetAll;
use http::{HeaderMap, HeaderValue, Method, header};
use protocol::headers::{KEY_PREFIX, SESSION_COOKIE};
use rand::TryRngCore as _;
use sha2::{Digest as _, Sha256};

/// Bytes that nobody can guess.
pub(crate) fn random<const SIZE: usize>() -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    // Without the system's randomness nothing here may go on.
    #[allow(clippy::expect_used, reason = "a machine without randomness cannot make credentials")]
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the system's random numbers");
    bytes
}

/// A fresh secret of 256 bits, base64url.
pub(crate) fn secret() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::<32>())
}

/// SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The credential that a request carries: one of our keys, else the session's cookie.
#[cfg(test)]
pub(crate) fn presented(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| cookie(headers))
}

/// `Authorization: Bearer ...`
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Our cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    cookie_named(headers.get_all(header::COOKIE), SESSION_COOKIE)
}

/// The first cookie of this name.
pub(crate) fn cookie_named<'a>(lines: GetAll<'a, HeaderValue>, name: &str) -> Option<&'a str> {
    lines
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// A new API key's text.
pub(crate) fn key_text(id: protocol::KeyId) -> String {
    format!("{KEY_PREFIX}{}_{}", id.uuid().simple(), secret())
}

/// Whether a browser makes this change for another site's page.
pub(crate) fn cross_site(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // The gateway says which host was asked.
    let host = text("x-forwarded-host").or_else(|| text("host")).unwrap_or_default();
    !protocol::origin::is_own(method, host, headers)
}

/// The cookie that carries a session.
pub(crate) fn set_cookie(token: &str, age: std::time::Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", age.as_secs())
}

/// The cookie that takes it away.
pub(crate) fn clear_cookie() -> String {
    format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_host_is_what_the_gateway_says() {
        let foreign = |pairs: &[(&'static str, &'static str)]| cross_site(&Method::POST, &headers(pairs));
        assert!(!foreign(&[("origin", "http://a:8080"), ("host", "a:8080")]));
        assert!(!foreign(&[("origin", "http://a:8080"), ("x-forwarded-host", "a:8080"), ("host", "inner")]));
        assert!(foreign(&[("origin", "http://a:8080"), ("x-forwarded-host", "b:8080"), ("host", "a:8080")]));
    }

    #[test]
    fn tokens() {
        assert_eq!(presented(&headers(&[("authorization", "bearer cck_1")])), Some("cck_1"));
        assert_eq!(presented(&headers(&[("cookie", "a=b; cc_session=s; c=d")])), Some("s"));
        assert_eq!(presented(&headers(&[("cookie", "xcc_session=s")])), None);
        assert_ne!(secret(), secret());
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
