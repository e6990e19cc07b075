//! Which hosts a guest may call: the list is obeyed, private ranges never.

use std::net::IpAddr;

use super::{EgressRules, is_public};

fn rules(hosts: &[&str]) -> EgressRules {
    EgressRules::parse(&hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
}

#[test]
fn only_named_hosts_and_ports_are_allowed() {
    assert!(!rules(&[]).allow("example.com", 443));
    let named = rules(&["Api.example.com", "*.cdn.net", "db.example.com:5984"]);
    assert!(named.allow("api.EXAMPLE.com", 443) && named.allow("api.example.com", 8443));
    assert!(!named.allow("example.com", 443) && !named.allow("evil-api.example.com", 443));
    assert!(named.allow("a.b.cdn.net", 80) && !named.allow("cdn.net", 80) && !named.allow("evilcdn.net", 80));
    assert!(named.allow("db.example.com", 5984) && !named.allow("db.example.com", 443));
}

#[test]
fn only_public_addresses_are_public() {
    let public = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"];
    let private = [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
    ];
    for text in public {
        assert!(is_public(text.parse::<IpAddr>().unwrap()), "{text} is public");
    }
    for text in private {
        assert!(!is_public(text.parse::<IpAddr>().unwrap()), "{text} is not public");
    }
}
