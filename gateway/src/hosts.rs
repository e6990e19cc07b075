//! Which hosts this gateway answers for. A page of another site can make its own name mean our address (DNS rebinding),
//! and would then be of our origin; so a name that nobody has configured is refused. Pure.

use std::net::IpAddr;

use protocol::{Code, Problem};

use crate::address::host_name;

/// A name in DNS has no more.
const NAME_LENGTH_MAX: usize = 253;

/// The hosts of one gateway.
#[derive(Debug)]
pub(crate) struct Hosts {
    named: Vec<String>,
    functions_domain: String,
}

impl Hosts {
    /// `named` are configured ones; `*` is all.
    pub(crate) fn new(named: &[String], public_url: Option<&str>, functions_domain: &str) -> Self {
        let public = public_url.and_then(|url| url.parse::<http::Uri>().ok()?.host().map(str::to_owned));
        let plain = |host: &str| host_name(host.trim()).to_ascii_lowercase();
        Self {
            named: named.iter().map(String::as_str).chain(public.as_deref()).map(plain).collect(),
            functions_domain: plain(functions_domain),
        }
    }

    /// Whether a request for `host` may be answered, on a connection to our address `local`.
    pub(crate) fn serves(&self, host: &str, local: IpAddr) -> bool {
        let name = host_name(host).to_ascii_lowercase();
        // Programs of HTTP/1.0 name none; browsers always do.
        if host.is_empty() || self.named.iter().any(|named| *named == name || named == "*") {
            return true;
        }
        let plain = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        if let Ok(address) = plain.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback() || address == local.to_canonical();
        }
        is_within(&name, "localhost") || is_within(&name, &self.functions_domain)
    }
}

/// The domain, or a name below it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether it is a host with or without a port, and nothing else.
pub(crate) fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (address, port),
        Some(_) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let good_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    let good_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    // The root alone is no host, and no label is empty but the root's.
    let labels = name.strip_suffix('.').unwrap_or(name).split('.');
    let whole = host.starts_with('[') || labels.into_iter().all(|label| !label.is_empty());
    whole && !name.is_empty() && name.len() <= NAME_LENGTH_MAX && good_port && name.bytes().all(good_name)
}

/// The refusal, with the option that allows the host.
pub(crate) fn refusal(host: &str) -> Problem {
    let name = host_name(host);
    Problem::new(Code::UnknownHost, format!("this gateway does not answer for `{}`", name.escape_debug())).with_help(
        format!(
            "Name the host when the platform is started: `crowdcloud up --host {name}`, CROWDCLOUD_HOSTS={name}, or \
             `hosts = [\"{name}\"]` in config.toml."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(hosts: &Hosts, host: &str) -> bool {
        hosts.serves(host, "192.0.2.7".parse().unwrap())
    }

    #[test]
    fn a18_only_known_hosts_are_served() {
        let named = ["Cloud.Example.org".to_owned()];
        let hosts = Hosts::new(&named, Some("https://portal.example.org:8443/x"), "fn.example.org");
        for good in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "f--a.localhost:1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
            "192.0.2.7:8080",
            "cloud.example.org:443",
            "portal.example.org",
            "fn.example.org",
            "f--a.fn.example.org:8080",
            "",
        ] {
            assert!(serves(&hosts, good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "192.0.2.8",
            "10.0.0.1",
            "[2001:db8::1]",
            "0.0.0.0",
            "evilfn.example.org",
            "example.org",
            "x.cloud.example.org",
            "2130706433",
        ] {
            assert!(!serves(&hosts, bad), "{bad}");
        }
        assert!(serves(&Hosts::new(&["*".to_owned()], None, "localhost"), "evil.example"));
    }

    #[test]
    fn a18_a_host_is_a_name_and_a_port() {
        for good in ["localhost", "localhost:", "a-b_c.d:65535", "[::1]", "[::1]:8080", "127.0.0.1:80"] {
            assert!(is_host(good), "{good}");
        }
        let long = "a".repeat(254);
        for bad in
            ["", ":80", "a:80x", "a:80:90", "a b", "a,b", "a/b", "u@a", "[::1", "[x]:1", "a:123456", "a\"", &long]
        {
            assert!(!is_host(bad), "{bad}");
        }
        let hosts = Hosts::new(&[], None, "localhost");
        for root in [".", ".:80", "..", "..:80", "localhost..", ".localhost", "a..localhost"] {
            assert!(!is_host(root), "{root}");
        }
        assert!(is_host("localhost.:80") && !serves(&hosts, ".") && !serves(&hosts, ".:80"), "none is not the root");
    }
}
