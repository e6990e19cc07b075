//! Whether a change comes from our own pages: cookies travel with requests that other sites make, too. Pure; the
//! gateway and the control plane both ask here.

use http::{HeaderMap, Method, header};

const SITE: &str = "sec-fetch-site";

/// Whether a request for this host may change something on the strength of a cookie. Programs, which send neither
/// `Sec-Fetch-Site` nor `Origin`, may: nobody else's page can make them send a cookie.
#[must_use]
pub fn is_own(method: &Method, host: &str, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    let mut sites = headers.get_all(SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| {
            let http = origin.strip_prefix("http://");
            http.or_else(|| origin.strip_prefix("https://"))
        });
        authority.is_some_and(|authority| !authority.is_empty() && authority.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn own(method: &Method, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_own(method, "localhost:8080", &headers)
    }

    #[test]
    fn f37_only_our_own_pages_and_programs() {
        assert!(own(&Method::POST, &[]));
        assert!(own(&Method::POST, &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8080")]));
        assert!(own(&Method::POST, &[("origin", "http://localhost:8080")]));
        assert!(own(&Method::POST, &[("origin", "https://LOCALHOST:8080")]));
        assert!(own(&Method::GET, &[("sec-fetch-site", "cross-site")]));
        for pairs in [
            [("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")],
            [("sec-fetch-site", "cross-site"), ("origin", "null")],
            [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            [("origin", "http://localhost:8080"), ("origin", "http://evil.example")],
            [("x", ""), ("origin", "null")],
            [("x", ""), ("origin", "")],
            [("x", ""), ("origin", "localhost:8080")],
            [("x", ""), ("origin", "ftp://localhost:8080")],
            [("x", ""), ("origin", "http://evil--ada.localhost:8080")],
            [("x", ""), ("origin", "http://localhost:8080.evil.example")],
            [("x", ""), ("origin", "http://localhost")],
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(!own(&method, &pairs), "{method} {pairs:?}");
            }
        }
    }
}
