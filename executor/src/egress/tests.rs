//! Which hosts a guest may call: the list is obeyed.

use super::EgressRules;

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
