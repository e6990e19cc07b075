//! Which version a URL means, and what a key may do.

use proptest::prelude::*;

use super::sample::{grant, name, route};
use crate::Reference;
use crate::route::{Grant, Route, Scope, Share};

#[test]
fn references_find_their_version() {
    let route = route();
    let found = |reference: Option<&str>, draw| {
        let reference = reference.map(|text| text.parse::<Reference>().unwrap());
        route.resolve(reference.as_ref(), draw).map(|version| version.number)
    };
    assert_eq!(found(Some("v3"), 0), Some(3));
    assert_eq!(found(Some("v9"), 0), None);
    assert_eq!(found(Some("canary"), 99), Some(3));
    assert_eq!(found(Some("nobody"), 0), None);
    assert_eq!(found(None, 0), Some(2));
    assert_eq!(found(None, 89), Some(2));
    assert_eq!(found(None, 90), Some(3));
    assert_eq!(Route::key(&route.account_name, &route.function_name), "ada.thumbs");
}

#[test]
fn scopes_include_what_they_should() {
    use Scope::{Admin, Deploy, Invoke, Read};
    for (held, allowed) in [
        (vec![], vec![]),
        (vec![Invoke], vec![Invoke]),
        (vec![Read], vec![Read]),
        (vec![Invoke, Read], vec![Invoke, Read]),
        (vec![Deploy], vec![Invoke, Read, Deploy]),
        (vec![Admin], vec![Invoke, Read, Deploy, Admin]),
    ] {
        let grant = Grant { scopes: held.clone(), ..grant() };
        for scope in [Invoke, Read, Deploy, Admin] {
            assert_eq!(grant.allows(scope), allowed.contains(&scope), "{held:?} for {scope:?}");
        }
    }
}

proptest! {
    /// Over all draws each version gets exactly its share.
    #[test]
    fn shares_are_exact(first in 0..=100_u8) {
        let mut route = route();
        let shares = vec![Share { version: 2, weight: first }, Share { version: 3, weight: 100 - first }];
        route.aliases.insert(name("live"), shares);
        let hits = (0..100).filter(|draw| route.resolve(None, *draw).unwrap().number == 2).count();
        prop_assert_eq!(hits, usize::from(first));
    }
}
