//! Names and references: what is accepted is exactly what hosts and paths can carry.

use proptest::prelude::*;

use super::sample::{name, uuid};
use crate::names::NameError;
use crate::{AccountId, Name, NodeId, Reference};

#[test]
fn names() {
    for good in ["ab", "thumbs", "a-b", "v2-0", "0x", "a23456789012345678901234567890"] {
        assert_eq!(name(good).as_str(), good);
    }
    for (bad, why) in [
        ("", NameError::Length),
        ("a", NameError::Length),
        ("a234567890123456789012345678901", NameError::Length),
        ("Ab", NameError::Characters),
        ("a_b", NameError::Characters),
        ("a.b", NameError::Characters),
        ("a--b", NameError::Characters),
        ("-ab", NameError::Characters),
        ("ab-", NameError::Characters),
        ("ä1", NameError::Characters),
        ("a\n", NameError::Characters),
        ("api", NameError::Reserved),
        ("www", NameError::Reserved),
    ] {
        assert_eq!(bad.parse::<Name>(), Err(why), "{bad:?}");
        assert!(serde_json::from_value::<Name>(bad.into()).is_err(), "JSON is no way around: {bad:?}");
    }
}

#[test]
fn references() {
    for (text, expected) in [
        ("v3", Reference::Version(3)),
        ("v4294967295", Reference::Version(u32::MAX)),
        ("v4294967296", Reference::Alias(name("v4294967296"))),
        ("v0", Reference::Alias(name("v0"))),
        ("v03", Reference::Alias(name("v03"))),
        ("canary", Reference::Alias(name("canary"))),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    assert!("v".parse::<Reference>().is_err());
}

#[test]
fn ids_say_what_they_name() {
    let id = NodeId::from_uuid(uuid(1));
    assert_eq!(id.to_string(), "node_01930000000070008000000000000001");
    for bad in [
        "acct_01930000000070008000000000000001",
        "node_0193000000007000800000000000000",
        "node_019300000000700080000000000000011",
        "node_01930000-0000-7000-8000-000000000001",
        "node_0193000000007000800000000000000G",
        "node_0193000000007000800000000000000A",
        "01930000000070008000000000000001",
        "node_",
        "",
    ] {
        assert!(bad.parse::<NodeId>().is_err(), "{bad}");
    }
    assert!(NodeId::new() < NodeId::new() || NodeId::new() != NodeId::new());
}

proptest! {
    /// A name can stand in a host's label (`<function>--<account>`), a path, a subject and a key, and the label can
    /// be taken apart again.
    #[test]
    fn a_name_fits_everywhere(a in "[a-z0-9-]{0,32}", b in "[a-z0-9-]{2,30}") {
        let (Ok(a), Ok(b)) = (a.parse::<Name>(), b.parse::<Name>()) else { return Ok(()) };
        let host = format!("{a}--{b}");
        prop_assert!(host.len() <= 63);
        prop_assert_eq!(host.split_once("--"), Some((a.as_str(), b.as_str())));
    }

    #[test]
    fn any_text_is_judged_calmly(text: String) {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.as_str(), &text);
        }
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string(), text.clone());
        }
        if let Ok(id) = text.parse::<AccountId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn ids_come_back(bits: u128) {
        let id = AccountId::from_uuid(uuid::Uuid::from_u128(bits));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(serde_json::from_str::<AccountId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
