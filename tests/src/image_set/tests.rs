//! The set itself: what must be in it, and that a wrong response is told from a right one.

use std::collections::BTreeSet;

use super::recipes::STOOD_FOR;
use super::{Form, Outcome, Packing, Recipe, all, each_kind};

#[test]
fn the_set_has_every_kind_and_each_image_is_called() {
    let set = all();
    let names: BTreeSet<&str> = set.iter().map(|recipe| recipe.name).collect();
    assert_eq!(names.len(), set.len(), "a name stands for two images");
    assert!(has_every_kind(&set) >= 12);
    assert!(has_every_kind(&each_kind()) >= 8);
    assert!(STOOD_FOR.iter().all(|name| names.contains(name)), "what is left out is in the whole set");
    let own_size = |flag: &&str| ["--cpus", "--memory"].contains(flag);
    assert!(!set.iter().any(|recipe| recipe.flags.iter().any(own_size)), "all share one size of machine");
}

/// How many of them run.
fn has_every_kind(set: &[Recipe]) -> usize {
    let running: Vec<_> = set.iter().filter(|recipe| matches!(recipe.outcome, Outcome::Runs { .. })).collect();
    assert!(running.len() < set.len(), "none is refused");
    assert!(running.iter().all(|recipe| !recipe.calls().is_empty()), "an image is never called");
    for form in [Form::Oci, Form::OciIndex, Form::Docker, Form::Files] {
        assert!(running.iter().any(|recipe| recipe.form == form), "none of the form {form:?}");
    }
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        assert!(running.iter().any(|recipe| recipe.layers.iter().any(|layer| layer.packing == packing)), "{packing:?}");
    }
    running.len()
}

#[test]
fn a_response_is_right_by_its_status_and_its_text() {
    let set = all();
    let calls = set.iter().flat_map(|recipe| recipe.calls());
    for call in calls {
        let says = call.says.unwrap_or("any page").as_bytes();
        assert_eq!(call.judge(call.status, &[says, b"\n".as_slice()].concat()), Ok(()));
        assert!(call.judge(502, says).is_err());
        assert!(call.says.is_none() || call.judge(call.status, b"something else").is_err());
    }
}
