//! Where a request goes, by its host and path alone. Pure.

use http::Uri;
use http::uri::PathAndQuery;
use protocol::{Code, Name, Reference};

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A run of a function.
    Function(FunctionAddress),
    /// `/api/v1/artifacts`
    Artifacts,
    /// `/api/v1/uploads`
    Uploads,
    /// `/api/v1/functions/{function}/test`
    Test(Name),
    /// `/api/v1/…`
    Api,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/fabric`: nodes connect.
    Fabric,
    /// `/install.sh`
    InstallScript,
    /// `/install/crowdcloud`: this program.
    Program,
    /// The portal's pages and files.
    Portal,
}

/// A function, as a URL names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FunctionAddress {
    pub(crate) account: Name,
    pub(crate) function: Name,
    pub(crate) reference: Option<Reference>,
    /// So much of the path is not the function's.
    pub(crate) prefix_len: usize,
    /// It shares the portal's origin: `/f/…`.
    pub(crate) shared_origin: bool,
}

impl FunctionAddress {
    /// The function's own part of the path.
    pub(crate) fn rest<'a>(&self, path: &'a str) -> &'a str {
        match path.get(self.prefix_len..) {
            None | Some("") => "/",
            Some(rest) => rest,
        }
    }

    /// Function and version as they were named: `thumbs`, `thumbs@v3`.
    pub(crate) fn target(&self) -> String {
        match &self.reference {
            Some(reference) => format!("{}@{reference}", self.function),
            None => self.function.to_string(),
        }
    }

    /// The function's own part of the path, and the query.
    pub(crate) fn own_uri(&self, uri: &Uri) -> Option<Uri> {
        let rest = self.rest(uri.path());
        let own: PathAndQuery = match uri.query() {
            None => rest.parse().ok()?,
            Some(query) => format!("{rest}?{query}").parse().ok()?,
        };
        Some(Uri::from(own))
    }

    /// The path and query as they were called, where the path is the prefix alone: the function sees `/` there.
    pub(crate) fn bare_target<'a>(&self, uri: &'a Uri) -> Option<&'a str> {
        let bare = self.prefix_len > 0 && uri.path().len() == self.prefix_len;
        if bare { uri.path_and_query().map(PathAndQuery::as_str) } else { None }
    }

    /// The part before it; nothing where the function has a host of its own.
    pub(crate) fn prefix<'a>(&self, path: &'a str) -> &'a str {
        path.get(..self.prefix_len).unwrap_or_default()
    }
}

/// Where a request for `path` at `host` goes.
pub(crate) fn destination(host: &str, path: &str, functions_domain: &str) -> Result<Destination, Code> {
    if !path.starts_with('/') {
        return Err(Code::InvalidRequest);
    }
    if let Some(label) = function_label(host, functions_domain) {
        return by_host(label).map(Destination::Function).ok_or(Code::FunctionNotFound);
    }
    if let Some(rest) = path.strip_prefix("/f/") {
        return by_path(rest).map(Destination::Function).ok_or(Code::FunctionNotFound);
    }
    match path {
        "/healthz" => return Ok(Destination::Health),
        "/readyz" => return Ok(Destination::Ready),
        "/metrics" => return Ok(Destination::Metrics),
        "/fabric" => return Ok(Destination::Fabric),
        "/install.sh" => return Ok(Destination::InstallScript),
        "/install/crowdcloud" => return Ok(Destination::Program),
        "/f" => return Err(Code::FunctionNotFound),
        "/api/v1/artifacts" => return Ok(Destination::Artifacts),
        "/api/v1/uploads" => return Ok(Destination::Uploads),
        _ => {}
    }
    let first = path[1..].split('/').next().unwrap_or_default();
    match first {
        "internal" => Err(Code::NotFound),
        "api" if climbs(path) => Err(Code::InvalidRequest),
        "api" => match path.strip_prefix("/api/v1/") {
            Some(rest) => Ok(test_of(rest).map_or(Destination::Api, Destination::Test)),
            None => Err(Code::NotFound),
        },
        _ => Ok(Destination::Portal),
    }
}

/// Without port, brackets and the root's dot.
pub(crate) fn host_name(host: &str) -> &str {
    let name = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or(host)
    } else {
        host.split(':').next().unwrap_or(host)
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// What stands before the functions' domain.
fn function_label<'a>(host: &'a str, functions_domain: &str) -> Option<&'a str> {
    let name = host_name(host);
    let split = name.len().checked_sub(functions_domain.len())?;
    let domain = name.get(split..)?;
    if !domain.eq_ignore_ascii_case(functions_domain) {
        return None;
    }
    name.get(..split)?.strip_suffix('.')
}

fn by_host(label: &str) -> Option<FunctionAddress> {
    let label = label.to_ascii_lowercase();
    let (function, account) = label.split_once("--")?;
    Some(FunctionAddress {
        account: account.parse().ok()?,
        function: function.parse().ok()?,
        reference: None,
        prefix_len: 0,
        shared_origin: false,
    })
}

fn by_path(rest: &str) -> Option<FunctionAddress> {
    let (account, rest) = rest.split_once('/')?;
    let named = rest.split('/').next()?;
    let (function, reference) = match named.split_once('@') {
        Some((function, reference)) => (function, Some(reference.parse().ok()?)),
        None => (named, None),
    };
    Some(FunctionAddress {
        account: account.parse().ok()?,
        function: function.parse().ok()?,
        reference,
        prefix_len: "/f/".len() + account.len() + 1 + named.len(),
        shared_origin: true,
    })
}

fn test_of(rest: &str) -> Option<Name> {
    rest.strip_prefix("functions/")?.strip_suffix("/test")?.parse().ok()
}

/// Whether a path could mean another one to whoever resolves dots.
fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(host: &str, path: &str) -> Result<Destination, Code> {
        destination(host, path, "localhost")
    }

    fn function(host: &str, path: &str) -> (String, String, String, String, bool) {
        let Ok(Destination::Function(address)) = go(host, path) else { panic!("{host}{path} is no function") };
        let reference = address.reference.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = format!("{}/{}", address.account, address.function);
        (name, reference, address.prefix(path).to_owned(), address.rest(path).to_owned(), address.shared_origin)
    }

    #[test]
    fn functions_by_path() {
        let case = |path: &str| function("127.0.0.1:8080", path);
        let want = |name: &str, reference: &str, prefix: &str, rest: &str| {
            (name.to_owned(), reference.to_owned(), prefix.to_owned(), rest.to_owned(), true)
        };
        assert_eq!(case("/f/ada/thumbs"), want("ada/thumbs", "", "/f/ada/thumbs", "/"));
        assert_eq!(case("/f/ada/thumbs/"), want("ada/thumbs", "", "/f/ada/thumbs", "/"));
        assert_eq!(case("/f/ada/thumbs/a%2Fb//c/"), want("ada/thumbs", "", "/f/ada/thumbs", "/a%2Fb//c/"));
        assert_eq!(case("/f/ada/thumbs@v3/x"), want("ada/thumbs", "v3", "/f/ada/thumbs@v3", "/x"));
        assert_eq!(case("/f/ada/thumbs@canary"), want("ada/thumbs", "canary", "/f/ada/thumbs@canary", "/"));
        assert_eq!(case("/f/ada/thumbs/../../api/v1"), want("ada/thumbs", "", "/f/ada/thumbs", "/../../api/v1"));
    }

    #[test]
    fn a_path_that_ends_with_the_functions_name_is_known_as_it_was_called() {
        let bare = |target: &str| {
            let uri: Uri = target.parse().unwrap();
            let Ok(Destination::Function(address)) = go("localhost", uri.path()) else { panic!("{target}") };
            (address.bare_target(&uri).map(str::to_owned), address.own_uri(&uri).unwrap().to_string())
        };
        let own = |own: &str| (None::<String>, own.to_owned());
        assert_eq!(bare("/f/ada/thumbs?x=1"), (Some("/f/ada/thumbs?x=1".to_owned()), "/?x=1".to_owned()));
        assert_eq!(bare("/f/ada/thumbs@v3"), (Some("/f/ada/thumbs@v3".to_owned()), "/".to_owned()));
        assert_eq!(bare("/f/ada/thumbs/?x=1"), own("/?x=1"));
        assert_eq!(bare("/f/ada/thumbs//"), own("//"));
    }

    #[test]
    fn functions_by_host() {
        for host in ["thumbs--ada.localhost", "thumbs--ada.localhost:8080", "Thumbs--ADA.LOCALHOST.:1"] {
            let (name, _, prefix, rest, shared) = function(host, "/api/v1/me");
            assert_eq!((name.as_str(), prefix.as_str(), rest.as_str()), ("ada/thumbs", "", "/api/v1/me"), "{host}");
            assert!(!shared);
        }
    }

    #[test]
    fn what_is_no_function_is_not_found() {
        for path in [
            "/f",
            "/f/",
            "/f/ada",
            "/f/ada/",
            "/f/../api/v1/me",
            "/f/ada/th umbs",
            "/f/ADA/thumbs",
            "/f/a/b@",
            "/f//x/y",
        ] {
            assert_eq!(go("localhost", path), Err(Code::FunctionNotFound), "{path}");
        }
        for host in ["thumbs.localhost", "a--b--c.localhost", "x.thumbs--ada.localhost", "--ada.localhost"] {
            assert_eq!(go(host, "/"), Err(Code::FunctionNotFound), "{host}");
        }
    }

    #[test]
    fn the_rest_of_the_platform() {
        assert_eq!(go("localhost:8080", "/api/v1/functions"), Ok(Destination::Api));
        assert_eq!(go("localhost", "/api/v1/artifacts"), Ok(Destination::Artifacts));
        let name: Name = "thumbs".parse().unwrap();
        assert_eq!(go("localhost", "/api/v1/functions/thumbs/test"), Ok(Destination::Test(name)));
        assert_eq!(go("[::1]:8080", "/healthz"), Ok(Destination::Health));
        assert_eq!(go("localhost", "/install.sh"), Ok(Destination::InstallScript));
        assert_eq!(go("localhost", "/install/crowdcloud"), Ok(Destination::Program));
        assert_eq!(go("evil-localhost", "/"), Ok(Destination::Portal));
        assert_eq!(go("localhost", "/functions/thumbs"), Ok(Destination::Portal));
        for path in ["/internal", "/internal/routes/a/b", "/api", "/api/v2/x"] {
            assert_eq!(go("localhost", path), Err(Code::NotFound), "{path}");
        }
        for path in ["/api/v1/../../internal/x", "/api/v1/%2E%2e/x", "*", ""] {
            assert_eq!(go("localhost", path), Err(Code::InvalidRequest), "{path}");
        }
    }
}
