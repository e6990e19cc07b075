//! The request's head as a command sees it: the meta-variables of CGI (RFC 3875), and what servers add to them.

use std::collections::BTreeMap;

use http::header::{self, HeaderName};
use http::request::Parts;
use http::uri::Authority;
use percent_encoding::percent_decode_str;

/// What answers: the platform.
const SOFTWARE: &str = concat!("CrowdCloud/", env!("CARGO_PKG_VERSION"));
/// Of the request alone: where it has none, a version's own would lie.
const OF_THE_REQUEST: [&str; 2] = ["CONTENT_LENGTH", "CONTENT_TYPE"];

/// The environment of one run: the version's own, and the request, whose names count where both have them. Each name
/// is there once.
pub fn environment(head: &Parts, own: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = own.into_iter().collect();
    env.retain(|name, _| !OF_THE_REQUEST.contains(&name.as_str()));
    let text = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = |name: &'static str| text(&HeaderName::from_static(name));
    let prefix = forwarded("x-forwarded-prefix").unwrap_or_default();
    let scheme = forwarded("x-forwarded-proto").unwrap_or("http");
    let host = forwarded("x-forwarded-host").or_else(|| text(&header::HOST));
    let host: Option<Authority> = host.and_then(|host| host.parse().ok());
    let port = host.as_ref().and_then(Authority::port_u16).unwrap_or(if scheme == "https" { 443 } else { 80 });
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // A path that is the prefix alone has no `/` behind it, though the function sees one.
    let called = head.headers.get("x-forwarded-uri").and_then(|called| std::str::from_utf8(called.as_bytes()).ok());
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("GATEWAY_INTERFACE", "CGI/1.1".to_owned());
    set("SERVER_SOFTWARE", SOFTWARE.to_owned());
    set("SERVER_PROTOCOL", "HTTP/1.1".to_owned());
    set("SERVER_NAME", host.as_ref().map_or("localhost", Authority::host).to_owned());
    set("SERVER_PORT", port.to_string());
    set("REQUEST_METHOD", head.method.to_string());
    set("REQUEST_SCHEME", scheme.to_owned());
    // No variable of the RFC's: path and query as the caller sent them. A decoded path no longer tells `%2F` from `/`.
    set("REQUEST_URI", called.map_or_else(|| format!("{prefix}{target}"), str::to_owned));
    set("SCRIPT_NAME", decoded(prefix));
    set("PATH_INFO", decoded(head.uri.path()));
    set("QUERY_STRING", head.uri.query().unwrap_or_default().to_owned());
    // Jobs have no caller on a network.
    let client = forwarded("x-forwarded-for").unwrap_or("0.0.0.0");
    set("REMOTE_ADDR", client.to_owned());
    set("REMOTE_HOST", client.to_owned());
    if scheme == "https" {
        set("HTTPS", "on".to_owned());
    }
    for name in head.headers.keys() {
        if let Some(variable) = variable(name)
            && let Some(value) = value(head, name)
        {
            set(&variable, value);
        }
    }
    env.into_iter().collect()
}

/// Decoded; what cannot be in a variable stays as it is.
fn decoded(path: &str) -> String {
    percent_decode_str(&path.replace("%00", "%2500")).decode_utf8_lossy().into_owned()
}

/// What a header's variable is called; none where the header has none.
fn variable(name: &HeaderName) -> Option<String> {
    // A `Proxy` header would set HTTP_PROXY, which many programs obey.
    if name == "proxy" {
        return None;
    }
    if *name == header::CONTENT_TYPE || *name == header::CONTENT_LENGTH {
        return Some(name.as_str().to_ascii_uppercase().replace('-', "_"));
    }
    // Two names, one variable: the gateway has left these out already.
    if !protocol::headers::is_common_name(name.as_str()) {
        return None;
    }
    Some(format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_")))
}

/// All values of a header in one; none where a variable cannot hold it.
fn value(head: &Parts, name: &HeaderName) -> Option<String> {
    let values = head.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let separator = if *name == header::COOKIE { "; " } else { ", " };
    let value = values.collect::<Vec<_>>().join(separator);
    (!value.contains('\0')).then_some(value)
}

/// A guess at the media type of a command's output, from how it begins.
pub fn media_type(start: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 8] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF-", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b", "application/gzip"),
        (b"<!doctype html", "text/html; charset=utf-8"),
        (b"<html", "text/html; charset=utf-8"),
    ];
    let start = &start[..start.len().min(512)];
    let begins = |magic: &[u8]| start.get(..magic.len()).is_some_and(|head| head.eq_ignore_ascii_case(magic));
    if let Some((_, media_type)) = MAGIC.iter().find(|(magic, _)| begins(magic)) {
        return media_type;
    }
    let text = match std::str::from_utf8(start) {
        Ok(_) => true,
        // A character may be cut at the end.
        Err(error) => error.error_len().is_none(),
    };
    let printable = start.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b));
    if text && printable && !start.is_empty() { "text/plain; charset=utf-8" } else { "application/octet-stream" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{environment, media_type};

    fn of(request: http::request::Builder, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = environment(&request.body(()).unwrap().into_parts().0, own);
        let count = env.len();
        let env: BTreeMap<_, _> = env.into_iter().collect();
        assert_eq!(env.len(), count, "a name is there twice");
        env
    }

    #[test]
    fn f18_the_request_is_in_the_environment_as_cgi_has_it() {
        let request = http::Request::put("/a%20b/c%2Fd;p=1/%00%ff?x=1&y=%20")
            .header("host", "inner")
            .header("content-type", "text/csv")
            .header("x-forwarded-for", "2001:db8::1")
            .header("x-forwarded-host", "echo--ada.example:8443")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-prefix", "/f/ada/echo")
            .header("accept", "a")
            .header("accept", "b")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x_mine", "second")
            .header("x-mine", "first")
            .header("x_alone", "1")
            .header("content_length", "9")
            .header("proxy", "http://evil");
        let own = [("PATH_INFO", "/lie"), ("CONTENT_LENGTH", "7"), ("HTTP_ACCEPT", "lie"), ("COLOUR", "green")];
        let env = of(request, &own);
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_NAME", "echo--ada.example"),
            ("SERVER_PORT", "8443"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_METHOD", "PUT"),
            ("REQUEST_SCHEME", "https"),
            ("REQUEST_URI", "/f/ada/echo/a%20b/c%2Fd;p=1/%00%ff?x=1&y=%20"),
            ("SCRIPT_NAME", "/f/ada/echo"),
            ("PATH_INFO", "/a b/c/d;p=1/%00\u{fffd}"),
            ("QUERY_STRING", "x=1&y=%20"),
            ("REMOTE_ADDR", "2001:db8::1"),
            ("HTTPS", "on"),
            ("CONTENT_TYPE", "text/csv"),
            ("HTTP_X_FORWARDED_FOR", "2001:db8::1"),
            ("HTTP_ACCEPT", "a, b"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_X_MINE", "first"),
            ("COLOUR", "green"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(env["SERVER_SOFTWARE"].starts_with("CrowdCloud/"));
        for absent in ["HTTP_PROXY", "CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_X_ALONE"] {
            assert!(!env.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn f18_what_must_be_there_is_there_without_any_header() {
        let env = of(http::Request::get("/"), &[]);
        for (name, value) in [
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", "/"),
            ("QUERY_STRING", ""),
            ("REQUEST_URI", "/"),
            ("REMOTE_ADDR", "0.0.0.0"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("HTTPS"));
        let literal = of(http::Request::get("/").header("host", "[::1]:8080"), &[]);
        assert_eq!((literal["SERVER_NAME"].as_str(), literal["SERVER_PORT"].as_str()), ("[::1]", "8080"));
    }

    #[test]
    fn f18_the_requests_uri_is_as_it_was_sent() {
        let uri = |target: &str, prefix: &str, called: &str| {
            let mut request = http::Request::get(target);
            for (name, value) in [("x-forwarded-prefix", prefix), ("x-forwarded-uri", called)] {
                if !value.is_empty() {
                    request = request.header(name, value);
                }
            }
            let env = of(request, &[]);
            assert_eq!((env["SCRIPT_NAME"].as_str(), env["PATH_INFO"].as_str()), (prefix, "/"), "{target}");
            env["REQUEST_URI"].clone()
        };
        assert_eq!(uri("/?x=1", "/f/ada/echo", "/f/ada/echo?x=1"), "/f/ada/echo?x=1");
        assert_eq!(uri("/?x=1", "/f/ada/echo", ""), "/f/ada/echo/?x=1");
        assert_eq!(uri("/", "/f/ada/echo@v3", "/f/ada/echo@v3"), "/f/ada/echo@v3");
        assert_eq!(uri("/?x=1", "", ""), "/?x=1", "at a host of its own");
    }

    #[test]
    fn media_types_are_guessed_from_the_start() {
        assert_eq!(media_type(b"hello\n"), "text/plain; charset=utf-8");
        assert_eq!(media_type("gr\u{fc}n".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(media_type(b"<!DOCTYPE html><p>"), "text/html; charset=utf-8");
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n\0\0"), "image/png");
        assert_eq!(media_type(b"\0asm"), "application/octet-stream");
        assert_eq!(media_type(b""), "application/octet-stream");
    }
}
