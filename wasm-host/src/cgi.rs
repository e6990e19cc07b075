//! The request's head as a command sees it: CGI's names (RFC 3875), as far as they make sense here.

use http::request::Parts;

/// The environment of one run, beside the version's own.
pub fn environment(head: &Parts) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = vec![
        ("GATEWAY_INTERFACE".to_owned(), "CGI/1.1".to_owned()),
        ("REQUEST_METHOD".to_owned(), head.method.to_string()),
        ("PATH_INFO".to_owned(), head.uri.path().to_owned()),
        ("QUERY_STRING".to_owned(), head.uri.query().unwrap_or_default().to_owned()),
        ("SERVER_PROTOCOL".to_owned(), "HTTP/1.1".to_owned()),
    ];
    for name in head.headers.keys() {
        let variable = match name.as_str() {
            // A `Proxy` header would set HTTP_PROXY, which many programs obey.
            "proxy" => continue,
            "content-type" => "CONTENT_TYPE".to_owned(),
            "content-length" => "CONTENT_LENGTH".to_owned(),
            other => format!("HTTP_{}", other.to_ascii_uppercase().replace('-', "_")),
        };
        let values = head.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let separator = if name == http::header::COOKIE { "; " } else { ", " };
        let value = values.collect::<Vec<_>>().join(separator);
        if !value.contains('\0') {
            env.push((variable, value));
        }
    }
    env
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

    #[test]
    fn the_head_is_in_the_environment() {
        let request = http::Request::builder()
            .method("PUT")
            .uri("/a/b?x=1&y=2")
            .header("content-type", "text/csv")
            .header("x-forwarded-for", "::1")
            .header("accept", "a")
            .header("accept", "b")
            .header("proxy", "http://evil")
            .body(())
            .unwrap();
        let env: BTreeMap<_, _> = environment(&request.into_parts().0).into_iter().collect();
        let get = |name: &str| env.get(name).map(String::as_str);
        assert_eq!(get("REQUEST_METHOD"), Some("PUT"));
        assert_eq!(get("PATH_INFO"), Some("/a/b"));
        assert_eq!(get("QUERY_STRING"), Some("x=1&y=2"));
        assert_eq!(get("CONTENT_TYPE"), Some("text/csv"));
        assert_eq!(get("HTTP_X_FORWARDED_FOR"), Some("::1"));
        assert_eq!(get("HTTP_ACCEPT"), Some("a, b"));
        assert_eq!(get("HTTP_PROXY"), None);
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
