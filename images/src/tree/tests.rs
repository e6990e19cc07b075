//! Layers in any order against a naive model: a map of paths, removals first, then additions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Body, FolderOverLink, Meta, Tree};
use crate::error::Error;
use crate::limits::{Gauge, Limits, Stop};
use crate::source::{Blob, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Put(Kind),
    Remove,
    RemoveBelow,
}

/// What one layer says, in the order of its archive.
type Layer = Vec<(String, Say)>;
type Model = BTreeMap<String, Kind>;

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

fn lay(model: &mut Model, layer: &Layer) {
    for (path, say) in layer {
        match say {
            Say::Remove => model.retain(|known, _| known != path && !below(known, path)),
            Say::RemoveBelow => model.retain(|known, _| !below(known, path)),
            Say::Put(_) => {}
        }
    }
    for (path, say) in layer {
        let Say::Put(kind) = say else { continue };
        for ancestor in ancestors(path) {
            model.insert(ancestor.to_owned(), Kind::Folder);
        }
        if *kind != Kind::Folder || !matches!(model.get(path), Some(Kind::Folder)) {
            model.retain(|known, _| {
                !below(known, path) || layer.iter().any(|(own, _)| own == known || below(own, known))
            });
        }
        model.insert(path.clone(), *kind);
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|parts| parts.iter().map(|part| format!("/{part}")).collect())
}

fn layer() -> impl Strategy<Value = Layer> {
    let say = prop_oneof![
        3 => (0..100_u64).prop_map(|len| Say::Put(Kind::File(len))),
        2 => Just(Say::Put(Kind::Folder)),
        2 => Just(Say::Remove),
        1 => Just(Say::RemoveBelow),
    ];
    let puts = prop::collection::btree_map(path(), say, 0..8);
    (puts, prop::collection::vec(any::<Index>(), 8)).prop_map(|(says, order)| {
        let is_file = |path: &str| matches!(says.get(path), Some(Say::Put(Kind::File(_))));
        let valid = |path: &str| !ancestors(path).any(is_file);
        let mut layer: Layer =
            says.iter().filter(|(path, _)| valid(path)).map(|(path, say)| (path.clone(), *say)).collect();
        for (at, index) in order.iter().enumerate().take(layer.len()) {
            let other = index.index(layer.len());
            layer.swap(at, other);
        }
        layer
    })
}

fn meta() -> Meta {
    Meta { mode: 0o644, ..Meta::FOLDER }
}

fn file(len: u64) -> Body {
    Body::File(Blob { store: Store::Input, offset: 0, len })
}

fn say(tree: &mut Tree<'_>, path: &str, say: Say) -> Result<(), Error> {
    match say {
        Say::Put(Kind::Folder) => tree.put_folder(path.as_bytes(), Meta::FOLDER),
        Say::Put(Kind::File(len)) => tree.put(path.as_bytes(), meta(), file(len)),
        Say::Remove => tree.remove(path.as_bytes()),
        Say::RemoveBelow => tree.remove_below(path.as_bytes()),
    }
}

fn seen(tree: &Tree<'_>) -> Model {
    let kind = |body: &Body| match body {
        Body::Directory(_) => Kind::Folder,
        Body::File(blob) => Kind::File(blob.len),
        Body::Symlink(_) => unreachable!("none was put"),
    };
    tree.walk(0).map(|(path, node)| (String::from_utf8(path).unwrap(), kind(&node.body))).collect()
}

fn gauge() -> Gauge {
    Gauge::new(Limits::default(), Stop::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn layers_mean_what_overlay_file_systems_mean(layers in prop::collection::vec(layer(), 1..5)) {
        let gauge = gauge();
        let mut tree = Tree::new(&gauge);
        let mut model = Model::new();
        for layer in &layers {
            tree.next_layer(FolderOverLink::Replaces);
            for (path, what) in layer {
                say(&mut tree, path, *what).unwrap();
            }
            lay(&mut model, layer);
            prop_assert_eq!(seen(&tree), model.clone());
        }
    }

    #[test]
    fn no_path_ever_leaves_the_root(
        parts in prop::collection::vec(select(vec!["a", "b", "..", ".", "", "/", "l", "m"]), 0..8),
        targets in prop::collection::vec(select(vec!["/", "..", "../../..", "/../a", "b/..", "l", "m", "/m/l"]), 2),
    ) {
        let gauge = gauge();
        let mut tree = Tree::new(&gauge);
        tree.put(b"l", meta(), Body::Symlink(targets[0].as_bytes().into())).unwrap();
        tree.put(b"a/m", meta(), Body::Symlink(targets[1].as_bytes().into())).unwrap();
        tree.put(b"a/b/f", meta(), file(1)).unwrap();
        let path = parts.join("/");
        let put = tree.put(path.as_bytes(), meta(), file(2));
        if parts.contains(&"..") {
            prop_assert!(matches!(put, Err(Error::PathLeavesRoot(_))));
        }
        // A look-up may climb, and ends at the root.
        drop(tree.find(path.as_bytes()));
        for (path, _) in tree.walk(0) {
            prop_assert!(!path.split(|byte| *byte == b'/').any(|part| part == b".."));
        }
    }
}

#[test]
fn links_are_followed_inside_the_root() {
    let gauge = gauge();
    let mut tree = Tree::new(&gauge);
    let link = |target: &str| Body::Symlink(target.as_bytes().into());
    tree.put_folder(b"etc", Meta::FOLDER).unwrap();
    tree.put(b"a", meta(), link("/etc")).unwrap();
    tree.put(b"up", meta(), link("../../../../etc")).unwrap();
    tree.put(b"nowhere", meta(), link("made/here")).unwrap();
    tree.put(b"a/passwd", meta(), file(1)).unwrap();
    tree.put(b"up/shadow", meta(), file(2)).unwrap();
    tree.put(b"nowhere/x", meta(), file(3)).unwrap();
    let names: Vec<String> = tree.walk(0).map(|(path, _)| String::from_utf8(path).unwrap()).collect();
    assert_eq!(
        names,
        ["/a", "/etc", "/etc/passwd", "/etc/shadow", "/made", "/made/here", "/made/here/x", "/nowhere", "/up"]
    );
    assert_eq!(tree.find(b"/a/../up/passwd").unwrap().path, b"/etc/passwd");
    assert_eq!(tree.find(b"/nowhere/y"), None);

    tree.put(b"round", meta(), link("round")).unwrap();
    assert!(matches!(tree.put(b"round/x", meta(), file(1)), Err(Error::Unreadable(_))));
    assert_eq!(tree.find(b"round"), None);
}

#[test]
fn a_folder_over_a_link_replaces_it_or_follows_it() {
    let gauge = gauge();
    for (rule, expected) in [(FolderOverLink::Replaces, "/bin/sh"), (FolderOverLink::Follows, "/usr/bin/sh")] {
        let mut tree = Tree::new(&gauge);
        tree.put_folder(b"usr/bin", Meta::FOLDER).unwrap();
        tree.put(b"bin", meta(), Body::Symlink(b"usr/bin".as_slice().into())).unwrap();
        tree.next_layer(rule);
        tree.put_folder(b"bin", Meta::FOLDER).unwrap();
        tree.put(b"bin/sh", meta(), file(1)).unwrap();
        assert_eq!(tree.find(b"/bin/sh").unwrap().path, expected.as_bytes());
    }
}

#[test]
fn only_what_a_layer_said_is_above_it() {
    let gauge = gauge();
    let mut tree = Tree::new(&gauge);
    tree.put(b"usr/bin/old", meta(), file(1)).unwrap();
    tree.put(b"etc/x", meta(), file(1)).unwrap();
    tree.put(b"bin", meta(), Body::Symlink(b"usr/bin".as_slice().into())).unwrap();
    let above = tree.next_layer(FolderOverLink::Follows);
    tree.put(b"bin/new", meta(), file(2)).unwrap();
    let names: Vec<String> = tree.walk(above).map(|(path, _)| String::from_utf8(path).unwrap()).collect();
    assert_eq!(names, ["/usr", "/usr/bin", "/usr/bin/new"]);
}
