//! Where a bucket is, as its URL says.

use std::net::IpAddr;

use object_store::path::Path;
use reqwest::Url;

/// The endpoint where the URL has none: what the environment says, or the service that the protocol is named after.
const USUAL_ENDPOINT: &str = "s3:/";

/// A bucket, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Scheme, host and port; none where the environment says it.
    pub(super) endpoint: Option<String>,
    pub(super) bucket: String,
    pub(super) prefix: Path,
}

impl Place {
    /// Reads `https://HOST/BUCKET[/PREFIX]` and `s3://BUCKET[/PREFIX]`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "the URL of a bucket is https://HOST/BUCKET or s3://BUCKET")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "credentials stand in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), not in the URL",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL of a bucket ends with its path");
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
        let path = url.path().trim_matches('/');
        let (endpoint, bucket, prefix) = match url.scheme() {
            "s3" => (None, host, path),
            "http" | "https" => {
                let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
                (Some(url.origin().ascii_serialization()), bucket, prefix)
            }
            _ => return Err("the URL of a bucket begins with https://, http:// or s3://"),
        };
        if bucket.is_empty() {
            return Err("the URL names no bucket");
        }
        let prefix = Path::from_url_path(prefix).map_err(|_| "the prefix is no path")?;
        Ok(Self { endpoint, bucket: bucket.to_owned(), prefix })
    }

    /// What is one failure domain: two prefixes of a bucket are.
    pub(super) fn domain(&self) -> String {
        format!("{}/{}", self.endpoint.as_deref().unwrap_or(USUAL_ENDPOINT), self.bucket)
    }

    /// Whether it is on this machine: a proxy of the environment knows nothing of its ports.
    pub(super) fn is_near(&self) -> bool {
        self.url().is_some_and(|url| is_at(&url, IpAddr::is_loopback))
    }

    /// Whether its URL asks for HTTP without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.url().is_some_and(|url| url.scheme() == "http")
    }

    /// Whether others than this network's can read and replay what is said to it.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_plain() && !self.url().is_some_and(|url| is_at(&url, is_private))
    }

    fn url(&self) -> Option<Url> {
        self.endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok())
    }

    /// The engine's name.
    pub(super) fn name(&self) -> String {
        let slash = if self.prefix.as_ref().is_empty() { "" } else { "/" };
        format!("s3 {}{slash}{}", self.domain(), self.prefix)
    }
}

/// Whether a URL's host is this machine's name, or an address of this kind.
pub(super) fn is_at(url: &Url, kind: impl Fn(&IpAddr) -> bool) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| kind(&address))
}

/// Whether an address is of this machine or of a network of its own.
fn is_private(address: &IpAddr) -> bool {
    let is_own = match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    is_own || address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_a_bucket_is() {
        let place = Place::parse("https://s3.example.org:9000/blobs/eu/west/").unwrap();
        assert_eq!(place.endpoint.as_deref(), Some("https://s3.example.org:9000"));
        assert_eq!((place.bucket.as_str(), place.prefix.as_ref()), ("blobs", "eu/west"));
        assert_eq!(place.domain(), "https://s3.example.org:9000/blobs");
        assert_eq!(place.name(), "s3 https://s3.example.org:9000/blobs/eu/west");
        let other = Place::parse("https://s3.example.org:9000/blobs").unwrap();
        assert_eq!((other.domain(), other.name() == place.name()), (place.domain(), false), "one domain, two engines");

        let usual = Place::parse("s3://blobs").unwrap();
        assert_eq!((usual.endpoint.as_deref(), usual.domain().as_str()), (None, "s3://blobs"));
        let near = Place::parse("http://127.0.0.1:9000/b").unwrap();
        assert_eq!((near.bucket.as_str(), near.is_near()), ("b", true));
        assert!(Place::parse("http://[::1]:9000/b").unwrap().is_near() && !place.is_near() && !usual.is_near());
    }

    #[test]
    fn http_is_for_networks_of_ones_own() {
        for (url, is_plain, is_exposed) in [
            ("s3://b", false, false),
            ("https://s3.example.org/b", false, false),
            ("http://localhost:9000/b", true, false),
            ("http://127.0.0.1:9000/b", true, false),
            ("http://[::1]:9000/b", true, false),
            ("http://10.1.2.3/b", true, false),
            ("http://192.168.1.2/b", true, false),
            ("http://[fd00::7]/b", true, false),
            ("http://203.0.113.7/b", true, true),
            ("http://[2001:db8::1]/b", true, true),
            ("http://s3.example.org/b", true, true),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!((place.is_plain(), place.is_exposed()), (is_plain, is_exposed), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for wrong in [
            "",
            "blobs",
            "s3://",
            "https://s3.example.org",
            "https://s3.example.org/",
            "ftp://s3.example.org/blobs",
            "https://key:secret@s3.example.org/blobs",
            "https://s3.example.org/blobs?region=eu",
            "https://s3.example.org/blobs#a",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
