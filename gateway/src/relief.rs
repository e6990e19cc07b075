//! Lets a browser in again whose cookies have outgrown a request's head: it sends them with every request, and would be
//! locked out for good. Pure.
//!
//! Where functions answer, the cookies that came are expired one by one, for the function's own paths. `Clear-Site-Data`
//! would end all cookies of the origin, and of the domain that it is of: then any function could log its visitors out
//! of the portal. Only portal and API say it.

use std::collections::HashSet;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protocol::headers::{cookie_name, is_our_cookie};

use crate::address::{Destination, FunctionAddress, host_name};

/// A browser takes heads of some 256 KiB; what does not fit is expired by the next answer.
const EXPIRED_BYTES_MAX: usize = 96 << 10;
/// Paths below a function's own that are tried, and domains around its host.
const PLACES_MAX: usize = 16;

/// Takes away what made the request's head too large, in the answer that says so.
pub(crate) fn relieve(
    answer: &mut HeaderMap,
    request: &http::request::Parts,
    host: &str,
    proto: &str,
    destination: &Destination,
    functions_domain: &str,
) {
    match destination {
        Destination::Function(address) => {
            let domains = if address.shared_origin { Vec::new() } else { domains_around(host, functions_domain) };
            let paths = paths_of(address, request.uri.path());
            for line in expired(&request.headers, &paths, &domains, address.shared_origin, proto) {
                answer.append(header::SET_COOKIE, line);
            }
        }
        Destination::Portal
        | Destination::Api
        | Destination::Artifacts
        | Destination::Uploads
        | Destination::Test(_) => {
            answer.insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cookies\""));
        }
        Destination::Health
        | Destination::Ready
        | Destination::Metrics
        | Destination::Fabric
        | Destination::InstallScript
        | Destination::Program => {}
    }
}

/// The paths of cookies that a browser sends to `path`, as far as they are the function's.
fn paths_of<'a>(address: &FunctionAddress, path: &'a str) -> Vec<&'a str> {
    let own = address.prefix(path).len();
    let mut paths = Vec::new();
    for (at, _) in path.match_indices('/').filter(|(at, _)| *at >= own) {
        paths.extend([&path[..at], &path[..=at]]);
    }
    paths.push(path);
    paths.retain(|path| !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'));
    paths.dedup();
    paths.truncate(PLACES_MAX);
    paths
}

/// The domains that a page at a function's own host can have set a cookie for.
fn domains_around<'a>(host: &'a str, functions_domain: &str) -> Vec<&'a str> {
    let host = host_name(host);
    let Some(at) = host.len().checked_sub(functions_domain.len()) else { return Vec::new() };
    let within = host.get(at..).unwrap_or_default();
    let ends = within.match_indices('.').map(|(dot, _)| &within[dot + 1..]);
    // A name of one label is nobody's to set cookies for.
    std::iter::once(within).chain(ends).filter(|domain| domain.contains('.')).take(PLACES_MAX).collect()
}

/// A `Set-Cookie` for each cookie at each place, the largest cookies first.
fn expired(headers: &HeaderMap, paths: &[&str], domains: &[&str], shared: bool, proto: &str) -> Vec<HeaderValue> {
    let mut cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| !cookie.is_empty())
        // Those are the portal's; a function has none of their names there.
        .filter(|cookie| !(shared && is_our_cookie(cookie_name(cookie))))
        .collect();
    cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.len()));
    let mut names = HashSet::new();
    cookies.retain(|cookie| names.insert(name_of(cookie)));
    let mut lines = Vec::new();
    let mut left = EXPIRED_BYTES_MAX;
    for path in paths {
        for domain in std::iter::once(None).chain(domains.iter().map(Some)) {
            for cookie in &cookies {
                let line = expired_line(cookie, path, domain.copied(), proto);
                let Some(rest) = left.checked_sub(line.len()) else { continue };
                left = rest;
                lines.extend(HeaderValue::from_bytes(&line).ok());
            }
        }
    }
    lines
}

/// A cookie may have no name: it is sent as its value alone.
fn name_of(cookie: &[u8]) -> &[u8] {
    if cookie.contains(&b'=') { cookie_name(cookie) } else { b"" }
}

fn expired_line(cookie: &[u8], path: &str, domain: Option<&str>, proto: &str) -> Vec<u8> {
    let name = name_of(cookie);
    // With neither name nor value it would not be taken.
    let value = if name.is_empty() { "-" } else { "" };
    let of_prefix = name.to_ascii_lowercase();
    let secure = proto == "https" || of_prefix.starts_with(b"__secure-") || of_prefix.starts_with(b"__host-");
    let domain = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
    let secure = if secure { "; Secure" } else { "" };
    [name, format!("={value}; Max-Age=0; Path={path}{domain}{secure}").as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::destination;

    const DOMAIN: &str = "fn.example.org";

    fn relieved(host: &str, path: &str, cookies: &[&str], proto: &str) -> HeaderMap {
        let mut request = http::Request::builder().uri(path);
        for cookie in cookies {
            request = request.header(header::COOKIE, *cookie);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut answer = HeaderMap::new();
        let destination = destination(host, path, DOMAIN).unwrap();
        relieve(&mut answer, &head, host, proto, &destination, DOMAIN);
        answer
    }

    fn set(answer: &HeaderMap) -> Vec<&str> {
        answer.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect()
    }

    #[test]
    fn a11_a_function_ends_its_own_cookies_only() {
        let answer = relieved("localhost", "/f/eve/probe/", &["a=1; bb=22", "cc_device=d; cc_session=s"], "http");
        assert!(!answer.contains_key("clear-site-data"));
        let own = ["bb", "a", "bb", "a"].into_iter().zip(["", "", "/", "/"]);
        let own: Vec<_> = own.map(|(name, end)| format!("{name}=; Max-Age=0; Path=/f/eve/probe{end}")).collect();
        assert_eq!(set(&answer), own);

        let deeper = relieved("localhost", "/f/eve/probe@v2/x/y", &["a=1"], "http");
        let paths = ["", "/", "/x", "/x/", "/x/y"];
        let paths: Vec<_> = paths.iter().map(|path| format!("a=; Max-Age=0; Path=/f/eve/probe@v2{path}")).collect();
        assert_eq!(set(&deeper), paths);
        // A path of the caller's choosing says nothing more.
        let forged = relieved("localhost", "/f/eve/probe/x;Path=/;y", &["a=1"], "http");
        assert!(set(&forged).iter().all(|line| line.contains("Path=/f/eve/probe") && !line.contains("Path=/;")));
    }

    #[test]
    fn a11_a_function_at_its_own_host_ends_cookies_of_that_host() {
        let answer = relieved("probe--eve.fn.example.org:8080", "/x", &["a=1; cc_session=tossed; bare"], "https");
        assert!(!answer.contains_key("clear-site-data"), "it would end those of the whole domain");
        let lines = set(&answer);
        for line in [
            "a=; Max-Age=0; Path=/; Secure",
            "a=; Max-Age=0; Path=/x; Domain=fn.example.org; Secure",
            "cc_session=; Max-Age=0; Path=/; Domain=example.org; Secure",
            "=-; Max-Age=0; Path=/; Secure",
        ] {
            assert!(lines.contains(&line), "{line}: {lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("Domain=org")));
        let many: Vec<String> = (0..180).map(|index| format!("{index}={}", "x".repeat(600))).collect();
        let answer = relieved("probe--eve.fn.example.org", &"/a".repeat(100), &[&many.join("; ")], "http");
        let bytes: usize = set(&answer).iter().map(|line| line.len()).sum();
        assert!(bytes <= EXPIRED_BYTES_MAX && set(&answer).len() > 180, "{bytes}");
    }

    #[test]
    fn a11_portal_and_api_clear_all_cookies() {
        for path in ["/", "/api/v1/me", "/api/v1/artifacts", "/api/v1/functions/f/test"] {
            let answer = relieved("localhost", path, &["a=1"], "http");
            assert_eq!(answer["clear-site-data"], "\"cookies\"", "{path}");
            assert!(set(&answer).is_empty());
        }
        assert!(relieved("localhost", "/healthz", &["a=1"], "http").is_empty());
    }
}
