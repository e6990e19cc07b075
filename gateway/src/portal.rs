//! The portal's files, embedded at build time plain and compressed, with the headers that keep its origin its own.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use protocol::{Code, Problem};

use crate::encoding::{self, Coding};
use crate::response::{Response, full};

mod files {
    include!(concat!(env!("OUT_DIR"), "/portal_files.rs"));
}

/// A file of the portal.
struct File {
    path: &'static str,
    media_type: &'static str,
    /// The digest of its plain bytes.
    etag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// A file as it goes over the wire.
struct Representation {
    coding: Option<Coding>,
    bytes: &'static [u8],
}

impl File {
    /// The smallest representation that the caller accepts.
    fn representation(&self, headers: &HeaderMap) -> Representation {
        let coded = |coding| match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        let best = encoding::accepted(headers).into_iter().find_map(|coding| Some((coding, coded(coding)?)));
        match best {
            Some((coding, bytes)) => Representation { coding: Some(coding), bytes },
            None => Representation { coding: None, bytes: self.plain },
        }
    }

    fn is_coded(&self) -> bool {
        self.brotli.is_some() || self.gzip.is_some()
    }
}

/// Our own code only; WebAssembly may be compiled. Styles may be set by our code on single elements.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self'; \
    connect-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// What is shown where the portal was not built.
const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>CrowdCloud</title>\
    <h1>CrowdCloud runs</h1><p>This program was built without its portal. \
    <code>cargo xtask up</code> builds it; so does <code>cargo xtask build</code>. \
    The <code>crowdcloud</code> command and the API at <a href=/api/v1/openapi.json>/api/v1</a> work without it.</p>";

/// A page or a file of the portal.
pub(crate) fn answer(head: &Parts) -> Result<Response, Problem> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Problem::new(Code::MethodNotAllowed, "pages are only read"));
    }
    let Some(file) = find(files::FILES, head.uri.path()) else {
        if files::FILES.is_empty() && is_page(head.uri.path()) {
            return Ok(secured(full(StatusCode::OK, "text/html; charset=utf-8", NOT_BUILT)));
        }
        return Err(Code::NotFound.into());
    };
    Ok(secured(of_file(file, &head.headers)))
}

/// Which release of the portal is here: the digest of its page, which names every other file by its content's hash.
pub(crate) fn release() -> Option<HeaderValue> {
    release_of(files::FILES)
}

fn release_of(files: &'static [File]) -> Option<HeaderValue> {
    find(files, "/").map(|page| HeaderValue::from_static(page.etag))
}

fn of_file(file: &File, asked: &HeaderMap) -> Response {
    let Representation { coding, bytes } = file.representation(asked);
    // Each coding is a representation of its own, with a tag of its own (RFC 9110, 8.8.3.3).
    let etag = match coding {
        None => format!("\"{}\"", file.etag),
        Some(coding) => format!("\"{}-{}\"", file.etag, coding.token()),
    };
    let fresh = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"));
    let mut answer = match fresh {
        true => full(StatusCode::NOT_MODIFIED, file.media_type, ""),
        false => full(StatusCode::OK, file.media_type, bytes),
    };
    let headers = answer.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    if let (Some(coding), false) = (coding, fresh) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    }
    if file.is_coded() {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control(file.path)));
    answer
}

/// The file at this path; a path without an extension is a page of the application, which routes by itself.
fn find(files: &'static [File], path: &str) -> Option<&'static File> {
    let by_path =
        |path: &str| files.binary_search_by(|file| file.path.cmp(path)).ok().and_then(|place| files.get(place));
    match by_path(path) {
        None if is_page(path) => by_path("/index.html"),
        found => found,
    }
}

fn is_page(path: &str) -> bool {
    !path.rsplit('/').next().unwrap_or_default().contains('.')
}

/// A file whose path holds a hash never changes; everything else is asked for again.
fn cache_control(path: &str) -> &'static str {
    let mut parts = path.split(['/', '.', '-', '_']);
    let hashed = parts.any(|part| part.len() >= 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hashed { "public, max-age=31536000, immutable" } else { "no-cache" }
}

fn secured(mut answer: Response) -> Response {
    let headers: &mut HeaderMap = answer.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: File = File {
        path: "/index.html",
        media_type: "text/html",
        etag: "b",
        plain: b"plain",
        brotli: Some(b"br"),
        gzip: Some(b"gz"),
    };
    static FILES: &[File] = &[
        File { path: "/app-0123456789abcdef0.js", media_type: "text/javascript", etag: "a", brotli: None, ..PAGE },
        PAGE,
    ];

    fn of(file: &File, pairs: &[(HeaderName, &'static str)]) -> (u16, Vec<String>) {
        let mut asked = HeaderMap::new();
        for (name, value) in pairs {
            asked.append(name, HeaderValue::from_static(value));
        }
        let answer = of_file(file, &asked);
        let named = [header::CONTENT_ENCODING, header::ETAG, header::VARY];
        let text = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        (answer.status().as_u16(), named.map(text).to_vec())
    }

    #[test]
    fn f03_each_coding_is_a_representation_of_its_own() {
        use header::{ACCEPT_ENCODING, IF_NONE_MATCH};
        let seen = |status, all: [&str; 3]| (status, all.map(str::to_owned).to_vec());
        let vary = "accept-encoding";
        assert_eq!(of(&PAGE, &[]), seen(200, ["", "\"b\"", vary]));
        assert_eq!(of(&PAGE, &[(ACCEPT_ENCODING, "gzip, deflate, br")]), seen(200, ["br", "\"b-br\"", vary]));
        assert_eq!(of(&PAGE, &[(ACCEPT_ENCODING, "gzip")]), seen(200, ["gzip", "\"b-gzip\"", vary]));
        assert_eq!(of(&FILES[0], &[(ACCEPT_ENCODING, "br, gzip")]), seen(200, ["gzip", "\"a-gzip\"", vary]));
        let gzip = (ACCEPT_ENCODING, "gzip");
        assert_eq!(of(&PAGE, &[gzip.clone(), (IF_NONE_MATCH, "\"b-gzip\"")]).0, 304);
        assert_eq!(of(&PAGE, &[gzip.clone(), (IF_NONE_MATCH, "W/\"b-br\", \"b\"")]).0, 200, "others' tags");
        assert_eq!(of(&PAGE, &[gzip, (IF_NONE_MATCH, "*")]), seen(304, ["", "\"b-gzip\"", vary]));
        let image = File { brotli: None, gzip: None, ..PAGE };
        assert_eq!(of(&image, &[(ACCEPT_ENCODING, "br")]), seen(200, ["", "\"b\"", ""]));
    }

    #[test]
    fn pages_fall_back_to_the_application_files_do_not() {
        let path = |path| find(FILES, path).map(|file| file.path);
        assert_eq!(path("/"), Some("/index.html"));
        assert_eq!(path("/functions/thumbs"), Some("/index.html"));
        assert_eq!(path("/app-0123456789abcdef0.js"), Some("/app-0123456789abcdef0.js"));
        assert_eq!(path("/missing.js"), None);
    }

    #[test]
    fn a_release_is_known_by_its_page() {
        assert_eq!(release_of(FILES).unwrap(), PAGE.etag);
        assert!(release_of(&[]).is_none());
    }

    #[test]
    fn only_paths_with_a_hash_are_kept_for_ever() {
        assert!(cache_control("/app-0123456789abcdef0.js").contains("immutable"));
        assert!(cache_control("/portal-0123456789abcdef/portal_bg.wasm").contains("immutable"));
        assert_eq!(cache_control("/index.html"), "no-cache");
    }
}
