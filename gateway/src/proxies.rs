//! Who a request comes from, and how it was addressed: the connection's word, or that of a trusted proxy. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use ipnet::IpNet;

/// Proxies that are believed: an address, or a network (`10.0.0.0/8`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| format!("{text:?} is neither an address nor a network"))
    }
}

/// Where a request came from, and the host that it is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CameFrom {
    pub(crate) client: IpAddr,
    pub(crate) host: String,
    pub(crate) proto: &'static str,
}

/// Whether this address is one of theirs.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[TrustedProxy]) -> bool {
    trusted.iter().any(|proxy| proxy.0.contains(&address.to_canonical()))
}

/// The caller's address, host and scheme: what the peer says where it is trusted, and else the connection's.
pub(crate) fn came_from(
    headers: &HeaderMap,
    peer: IpAddr,
    (proto, host): (&'static str, String),
    trusted: &[TrustedProxy],
) -> CameFrom {
    if !is_trusted(peer, trusted) {
        return CameFrom { client: peer, host, proto };
    }
    let last = |name: &str| {
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
    };
    // Each proxy adds whom it was called by: the last one that is no proxy of ours is the caller.
    let mut client = peer;
    let hops = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
    for hop in hops.flat_map(|value| value.rsplit(',')) {
        let Some(address) = address_of(hop.trim()) else { break };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    CameFrom {
        client,
        host: last("x-forwarded-host").map_or(host, str::to_owned),
        proto: match last("x-forwarded-proto") {
            Some(told) if told.eq_ignore_ascii_case("https") => "https",
            Some(_) => "http",
            None => proto,
        },
    }
}

/// Some proxies add the port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<std::net::SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn from(peer: &str, pairs: &[(&'static str, &'static str)]) -> (String, String, &'static str) {
        from_by("http", peer, pairs)
    }

    fn from_by(
        proto: &'static str,
        peer: &str,
        pairs: &[(&'static str, &'static str)],
    ) -> (String, String, &'static str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let came = came_from(&headers, peer.parse().unwrap(), (proto, "here".to_owned()), &trusted);
        (came.client.to_string(), came.host, came.proto)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let told = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "there"), ("x-forwarded-proto", "https")];
        let seen = |client: &str, host: &str, proto| (client.to_owned(), host.to_owned(), proto);
        assert_eq!(from("192.0.2.1", &told), seen("192.0.2.1", "here", "http"));
        assert_eq!(from("10.1.2.3", &told), seen("1.2.3.4", "there", "https"));
        assert_eq!(from("::ffff:10.1.2.3", &told), seen("1.2.3.4", "there", "https"));
        assert_eq!(from("::1", &[]), seen("::1", "here", "http"));
        assert_eq!(from_by("https", "::1", &[]), seen("::1", "here", "https"));
        assert_eq!(from_by("https", "192.0.2.1", &[("x-forwarded-proto", "http")]), seen("192.0.2.1", "here", "https"));
        // What the caller wrote there itself stands further left.
        let chain = [("x-forwarded-for", "9.9.9.9, 192.0.2.9:1234"), ("x-forwarded-for", "10.0.0.7")];
        assert_eq!(from("10.1.2.3", &chain), seen("192.0.2.9", "here", "http"));
        assert_eq!(from("10.1.2.3", &[("x-forwarded-for", "9.9.9.9, unknown")]), seen("10.1.2.3", "here", "http"));
        assert!("10.0.0.0/40".parse::<TrustedProxy>().is_err());
    }
}
