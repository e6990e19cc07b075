//! Whether a change comes from our own pages: cookies travel with requests that other sites make, too. Pure.

use http::header::{self, HeaderMap};
use http::{HeaderName, Method};

/// Whether the request may change something on the strength of a cookie. Programs, which send neither
/// `Sec-Fetch-Site` nor `Origin`, may: nobody else's page can make them send a cookie.
pub(crate) fn is_own(method: &Method, host: &str, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    if let Some(site) = headers.get(HeaderName::from_static("sec-fetch-site")) {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    match headers.get(header::ORIGIN).map(|origin| origin.to_str()) {
        None => true,
        Some(Ok(origin)) => origin
            .strip_prefix("http://")
            .or(origin.strip_prefix("https://"))
            .is_some_and(|authority| !authority.is_empty() && authority.eq_ignore_ascii_case(host)),
        Some(Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn own(method: &Method, pairs: &[(&'static str, &'static str)]) -> bool {
        let headers =
            pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect::<HeaderMap>();
        is_own(method, "localhost:8080", &headers)
    }

    #[test]
    fn only_our_own_pages_and_programs() {
        assert!(own(&Method::POST, &[]));
        assert!(own(&Method::POST, &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8080")]));
        assert!(own(&Method::POST, &[("origin", "http://localhost:8080")]));
        assert!(own(&Method::GET, &[("sec-fetch-site", "cross-site")]));
        for pairs in [
            [("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")],
            [("sec-fetch-site", "cross-site"), ("origin", "null")],
            [("x", ""), ("origin", "null")],
            [("x", ""), ("origin", "http://evil--ada.localhost:8080")],
            [("x", ""), ("origin", "http://localhost")],
        ] {
            assert!(!own(&Method::POST, &pairs), "{pairs:?}");
        }
    }
}
