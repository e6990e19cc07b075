//! Where requests go: a path is sent as it was written, or is refused. HTTP clients resolve `.` and `..`, leave out what
//! stands after `#`, and turn `\` into `/`; what they would make of a path could be another function's.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::Url;

use crate::failure::Failure;

/// What cannot stand in a request's head, or would be read as something else; beyond ASCII nothing can.
const ENCODED_IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'}');
const ENCODED_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\'').add(b'<').add(b'>');
/// A name is one segment: `@` alone has a meaning in it.
const ENCODED_IN_NAME: &AsciiSet = &ENCODED_IN_PATH.add(b'/').add(b'?').add(b'#').add(b'%');

/// Path and query as a user writes them for a function; empty, or with `/` or `?` at the beginning.
pub(crate) fn path(written: &str) -> Result<String, Failure> {
    if written.contains('#') {
        return Err(Failure::usage(format!("The path {written:?} cannot be sent as it is"))
            .why("what stands after `#` is never sent")
            .help("write the character itself as %23")
            .at("path"));
    }
    let (path, query) = written.split_once('?').map_or((written, None), |(path, query)| (path, Some(query)));
    let mut sent = String::new();
    if !path.is_empty() && !path.starts_with('/') {
        sent.push('/');
    }
    sent.extend(utf8_percent_encode(path, ENCODED_IN_PATH));
    if let Some(query) = query {
        sent.push('?');
        sent.extend(utf8_percent_encode(query, ENCODED_IN_QUERY));
    }
    Ok(sent)
}

/// A function's name, or an account's and a function's, in the path of a call.
pub(crate) fn function(written: &str) -> String {
    let name = |name| utf8_percent_encode(name, ENCODED_IN_NAME).to_string();
    match written.split_once('/') {
        Some((account, function)) => format!("{}/{}", name(account), name(function)),
        None => name(written),
    }
}

/// The URL of this path of a platform.
pub(crate) fn url(platform: &str, path: &str) -> Result<Url, Failure> {
    let url = Url::parse(&format!("{platform}{path}")).map_err(|error| {
        Failure::usage(format!("{platform:?} is not a URL of a platform")).why(error).help("use --url http://HOST:PORT")
    })?;
    if url.fragment().is_none() && url.as_str().ends_with(path) {
        return Ok(url);
    }
    Err(Failure::usage(format!("The path {path:?} cannot be sent as it is"))
        .why(format!("`.` and `..` are resolved on the way, so that it would become {:?}", url.path()))
        .help("leave them out; `curl --path-as-is` sends them as they are")
        .at("path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "http://127.0.0.1:8080";

    /// What reaches the platform, after `/f/ada/fn`.
    fn sent(written: &str) -> Option<String> {
        let path = path(written).ok()?;
        let url = url(AT, &format!("/f/ada/fn{path}")).ok()?;
        Some(url.as_str().strip_prefix(AT)?.strip_prefix("/f/ada/fn")?.to_owned())
    }

    #[test]
    fn f29_a_path_goes_as_written_or_is_refused() {
        for same in [
            "",
            "/",
            "//a//b/",
            "/a%2Fb/c%20d;p=1",
            "/a|b[c]~!$&()*+,=:@",
            "/...",
            "/.a/b..",
            "/a/..%2Fb",
            "?a=../b&c=/../d",
            "/a?b=%27c%27&d=e/../f?g",
            "/%zz",
        ] {
            assert_eq!(sent(same).as_deref(), Some(same), "{same:?}");
        }
        for refused in [
            "/../other/x",
            "../other/x",
            "..",
            "/a/../../../other",
            "/./a",
            "/a/.",
            "/%2e%2e/other/x",
            "/%2E./other",
            "/.%2e?x",
            "/a#b",
            "#",
        ] {
            assert_eq!(sent(refused), None, "{refused:?}");
        }
        let why = url(AT, "/f/ada/fn/../other/x").unwrap_err();
        assert!(why.what().contains("/f/ada/other/x"), "it says what it would have become: {}", why.what());
    }

    #[test]
    fn f32_what_cannot_stand_in_a_path_is_encoded() {
        for (written, wanted) in [
            ("/a b", "/a%20b"),
            ("a b?c d", "/a%20b?c%20d"),
            ("/grün/猫", "/gr%C3%BCn/%E7%8C%AB"),
            ("/a\\..\\b", "/a%5C..%5Cb"),
            ("/a\tb\nc", "/a%09b%0Ac"),
            ("/{id}/\"<x>\"", "/%7Bid%7D/%22%3Cx%3E%22"),
            ("?q='x' y", "?q=%27x%27%20y"),
            ("/a ", "/a%20"),
        ] {
            assert_eq!(path(written).unwrap(), wanted, "{written:?}");
            assert_eq!(sent(written).as_deref(), Some(wanted), "{written:?}");
        }
    }

    #[test]
    fn f29_names_are_one_segment() {
        assert_eq!(function("ada/thumbs@v3"), "ada/thumbs@v3");
        assert_eq!(function("thumbs?x#y"), "thumbs%3Fx%23y");
        assert_eq!(function("ada/../api/v1/me"), "ada/..%2Fapi%2Fv1%2Fme");
        for dots in ["..", "."] {
            let at = format!("/api/v1/functions/{}", crate::client::segment(dots));
            assert!(url(AT, &at).is_err(), "{at} would be the whole list");
        }
    }
}
