//! What must never pass, whatever a head holds.

use proptest::prelude::*;

use super::*;

fn forward() -> Forward<'static> {
    Forward { client: IpAddr::from([192, 0, 2, 7]), host: "localhost:8080", proto: "http", prefix: "/f/ada/thumbs" }
}

fn head(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[test]
fn keys_and_sessions_stay_other_credentials_pass() {
    let mut headers = head(&[
        ("authorization", "Bearer cck_1_secret"),
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("cookie", "a=1; cc_session=s3cret; cc_device=d; b=2"),
        ("cookie", "cc_device=again"),
        ("cookie", "cc_session=again"),
        ("cookie", "cc_session_else=3"),
    ]);
    clean_request(&mut headers, &forward());
    assert_eq!(values(&headers, "authorization"), ["Basic dXNlcjpwYXNz"]);
    assert_eq!(values(&headers, "cookie"), ["a=1; b=2; cc_session_else=3"]);
}

#[test]
fn the_way_is_told_and_lies_about_it_are_not() {
    let mut headers = head(&[
        ("host", "localhost:8080"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-prefix", "/lie"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-ssl", "on"),
        ("x-real-ip", "1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("cf-connecting-ip", "1.2.3.4"),
        ("x-original-url", "/lie"),
        ("connection", "x-secret, Host , close"),
        ("x-secret", "1"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("x-crowdcloud-ticket", "forged"),
        ("x_crowdcloud_run", "forged"),
        ("x-own", "kept"),
    ]);
    clean_request(&mut headers, &forward());
    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        ["host", "te", "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto", "x-own"]
    );
    assert_eq!(values(&headers, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&headers, "x-forwarded-prefix"), ["/f/ada/thumbs"]);
}

#[test]
fn an_answer_at_the_portals_origin_is_caged() {
    let given = [
        ("content-security-policy", "default-src 'self'"),
        ("set-cookie", "cc_session=stolen; Path=/"),
        ("set-cookie", "mine=1"),
        ("clear-site-data", "\"*\""),
        ("service-worker-allowed", "/"),
        ("strict-transport-security", "max-age=1"),
        ("x-crowdcloud-run", "run_forged"),
        ("proxy-status", "crowdcloud; error=x"),
        ("proxy-status", "upstream; error=y"),
        ("connection", "close"),
    ];
    let mut shared = head(&given);
    clean_response(&mut shared, "/f/ada/thumbs");
    assert_eq!(values(&shared, "content-security-policy"), ["default-src 'self'", "sandbox"]);
    assert_eq!(values(&shared, "set-cookie"), ["mine=1; Path=/f/ada/thumbs/"]);
    assert_eq!(values(&shared, "proxy-status"), ["upstream; error=y"]);
    for name in
        ["clear-site-data", "service-worker-allowed", "strict-transport-security", "x-crowdcloud-run", "connection"]
    {
        assert!(!shared.contains_key(name), "{name}");
    }
    let mut own = head(&given);
    clean_response(&mut own, "");
    assert_eq!(values(&own, "content-security-policy"), ["default-src 'self'"]);
    assert!(own.contains_key("clear-site-data"));
    assert_eq!(values(&own, "set-cookie"), ["mine=1"]);
}

#[test]
fn a11_a_functions_cookies_stay_below_its_path_and_on_its_host() {
    let shared = |cookie: &str| {
        let mut headers = head(&[("set-cookie", cookie)]);
        clean_response(&mut headers, "/f/ada/thumbs");
        values(&headers, "set-cookie").join("|")
    };
    for (given, kept) in [
        ("a=1", "a=1; Path=/f/ada/thumbs/"),
        ("a=1; Path=/", "a=1; Path=/f/ada/thumbs/"),
        ("a=1; path = /x ;HttpOnly", "a=1;HttpOnly; Path=/f/ada/thumbs/x"),
        ("a=1; PATH=/x; Path=/", "a=1; Path=/f/ada/thumbs/"),
        ("a=1; Path=x", "a=1; Path=/f/ada/thumbs/"),
        ("a=1; Path", "a=1; Path=/f/ada/thumbs/"),
        ("a=1; Path=/f/ada/thumbs/y; Secure", "a=1; Secure; Path=/f/ada/thumbs/y"),
        ("a=1; Path=/f/ada/thumbs", "a=1; Path=/f/ada/thumbs/"),
        ("a=1; Path=/f/ada/thumbs2", "a=1; Path=/f/ada/thumbs/f/ada/thumbs2"),
        ("a=1; Path=/f/ada/", "a=1; Path=/f/ada/thumbs/f/ada/"),
        ("a=1; Domain=localhost; DOMAIN = .localhost; SameSite=Lax", "a=1; SameSite=Lax; Path=/f/ada/thumbs/"),
        ("a=\"x; Path=/\"", "a=\"x; Path=/f/ada/thumbs/\""),
    ] {
        assert_eq!(shared(given), kept, "{given}");
    }
    let path = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    let prefix = "/f/ada/thumbs";
    let longest = path(1024 - prefix.len());
    assert_eq!(shared(&format!("a=1; Path={longest}")), format!("a=1; Path={prefix}{longest}"));
    for long in [path(1025 - prefix.len()), path(1100), format!("{prefix}{}", path(1100))] {
        assert_eq!(shared(&format!("a=1; Path={long}")), "a=1; Path=/f/ada/thumbs/", "what browsers would pass over");
    }
    let mut own = head(&[("set-cookie", "a=1; Path=/x; Domain=fn.example.org"), ("set-cookie", "b=2; Path=/")]);
    clean_response(&mut own, "");
    assert_eq!(values(&own, "set-cookie"), ["a=1; Path=/x", "b=2; Path=/"]);
}

#[test]
fn a11_an_answer_at_the_portals_origin_binds_none_of_it() {
    let binding = [
        "Accept-CH",
        "Activate-Storage-Access",
        "Clear-Site-Data",
        "Critical-CH",
        "Expect-CT",
        "Public-Key-Pins",
        "Public-Key-Pins-Report-Only",
        "Sec-Session-Registration",
        "Secure-Session-Challenge",
        "Secure-Session-Registration",
        "Set-Login",
        "Use-As-Dictionary",
    ];
    let mut given: Vec<(&str, &str)> = binding.iter().map(|name| (*name, "x")).collect();
    given.extend([
        ("www-authenticate", "Basic realm=\"log in to CrowdCloud\""),
        ("www-authenticate", "Bearer, DIGEST realm=\"x\""),
        ("www-authenticate", "Bearer realm=\"api\""),
        ("cache-control", "no-store"),
    ]);
    let mut shared = head(&given);
    clean_response(&mut shared, "/f/ada/thumbs");
    let names: std::collections::BTreeSet<&str> = shared.keys().map(HeaderName::as_str).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["cache-control", "content-security-policy", "www-authenticate"]);
    assert_eq!(values(&shared, "www-authenticate"), ["Bearer realm=\"api\""]);
    let mut own = head(&given);
    clean_response(&mut own, "");
    assert_eq!(own.len(), given.len(), "an origin of its own is its own to bind");
}

#[test]
fn a20_a_body_is_framed_once() {
    for good in [&[][..], &[("transfer-encoding", "chunked")], &[("transfer-encoding", " Chunked ")]] {
        assert!(is_framed_plainly(&head(good)), "{good:?}");
    }
    let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert!(!is_framed_plainly(&head(&twice)));
    for bad in ["chunked, chunked", "gzip, chunked", "chunked, identity", "chunked,", ",chunked", "x chunked"] {
        assert!(!is_framed_plainly(&head(&[("transfer-encoding", bad)])), "{bad}");
    }
}

#[test]
fn keys_are_found_only_as_bearer() {
    assert_eq!(bearer_key(&head(&[("authorization", "bearer   cck_1_x ")])), Some("cck_1_x"));
    assert_eq!(bearer_key(&head(&[("authorization", "Bearer other")])), None);
    assert_eq!(bearer_key(&head(&[("authorization", "Basic cck_1_x")])), None);
    assert_eq!(cookie(&head(&[("cookie", "a=1; cc_session = x")]), "cc_session"), Some("x"));
    assert!(wants_upgrade(&head(&[("upgrade", "h2c, websocket")])));
    assert!(!wants_upgrade(&head(&[("upgrade", "h2c")])));
}

proptest! {
    #[test]
    fn no_key_and_no_session_in_any_head(
        cookies in proptest::collection::vec("[ -~]{0,20}(; ?)?( ?cc_session ?= ?secret)?[;, -~]{0,12}", 0..4),
        authorizations in proptest::collection::vec("(Bearer|Basic|bearer)? {0,2}(cck_)?[a-z_]{0,8}", 0..3),
        connection in "[ -~]{0,30}",
    ) {
        let mut headers = HeaderMap::new();
        for value in &cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(value).unwrap());
        }
        for value in &authorizations {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers.insert(header::CONNECTION, HeaderValue::from_str(&connection).unwrap());
        clean_request(&mut headers, &forward());
        prop_assert!(cookie(&headers, "cc_session").is_none());
        prop_assert!(bearer_key(&headers).is_none());
        prop_assert!(!values(&headers, "authorization").iter().any(|value| value.contains("cck_")));
        prop_assert!(!headers.contains_key("connection"));
    }

    #[test]
    fn other_cookies_pass_unchanged(values_given in proptest::collection::vec("[a-z]{1,6}=[!-+\\--:<-~]{0,9}", 1..6)) {
        let mut headers = HeaderMap::new();
        let mut all = values_given.clone();
        all.insert(values_given.len() / 2, "cc_session=secret".to_owned());
        headers.insert(header::COOKIE, HeaderValue::from_str(&all.join("; ")).unwrap());
        clean_request(&mut headers, &forward());
        prop_assert_eq!(values(&headers, "cookie"), vec![values_given.join("; ")]);
    }
}
