//! Layers over layers: what is removed, linked, and left alone.

use std::collections::BTreeMap;

use images::InputKind;

use crate::archives::{ImageOf, Layer, SCRIPT, Tar, root};
use crate::look::{Bench, Seen, cat, list};

fn names(seen: &BTreeMap<String, Seen>) -> Vec<&str> {
    seen.keys().map(String::as_str).filter(|name| !name.starts_with("/bin") && !name.starts_with("/app")).collect()
}

fn over(layers: Vec<Tar>) -> BTreeMap<String, Seen> {
    let mut all = vec![Layer::plain(root())];
    all.extend(layers.into_iter().map(Layer::plain));
    Bench::new().listing(&ImageOf::new(all).oci())
}

#[test]
fn a_removal_hides_what_lies_below_and_nothing_of_its_own_layer() {
    let seen = over(vec![
        Tar::default().file("d/old", b"1").file("d/kept", b"2").file("e/f/old", b"3").file("gone", b"4"),
        Tar::default().file("d/.wh.old", b"").file(".wh.gone", b"").file(".wh.e", b"").file("e/f/new", b"5"),
    ]);
    assert_eq!(names(&seen), ["/", "/d", "/d/kept", "/e", "/e/f", "/e/f/new"]);
    // The same, said in the other order.
    let seen = over(vec![
        Tar::default().file("e/f/old", b"3"),
        Tar::default().file("e/f/new", b"5").file(".wh.e", b"").file("never/.wh.was", b""),
    ]);
    assert_eq!(names(&seen), ["/", "/e", "/e/f", "/e/f/new"]);
}

#[test]
fn an_opaque_folder_hides_all_below_it() {
    let lower = || Tar::default().file("d/old", b"1").file("d/sub/old", b"1").file("e/kept", b"1");
    for upper in [
        Tar::default().dir("d").file("d/.wh..wh..opq", b"").file("d/sub/new", b"2"),
        Tar::default().dir("d").file("d/sub/new", b"2").file("d/.wh..wh..opq", b""),
        Tar::default().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]).dir("d").file("d/sub/new", b"2"),
    ] {
        assert_eq!(names(&over(vec![lower(), upper])), ["/", "/d", "/d/sub", "/d/sub/new", "/e", "/e/kept"]);
    }
}

#[test]
fn a_character_device_of_number_nought_is_a_removal() {
    let upper = Tar::default().device("d/old", tar::EntryType::Char, 0, 0);
    let seen = over(vec![Tar::default().file("d/old", b"1").file("d/kept", b"1"), upper]);
    assert_eq!(names(&seen), ["/", "/d", "/d/kept"]);
}

#[test]
fn names_of_a_union_file_systems_own_are_no_files() {
    let seen = over(vec![Tar::default().file("d/.wh..wh.plnk", b"").file("d/.wh.", b"").file("d/x", b"")]);
    assert_eq!(names(&seen), ["/", "/d", "/d/x"]);
}

#[test]
fn a_hard_link_may_point_to_a_lower_layer() {
    let image = ImageOf::new(vec![
        Layer::gzip(root().file("data", b"shared")),
        Layer::zstd(Tar::default().hard_link("again", "data").hard_link("third", "./again")),
        Layer::plain(Tar::default().file("data", b"changed").file(".wh.third", b"")),
    ]);
    let bench = Bench::new();
    let image = bench.image(&image.oci());
    let path = &image.rootfs.path;
    assert_eq!((cat(path, "again"), cat(path, "data")), (b"shared".to_vec(), b"changed".to_vec()));
    assert!(!list(path).contains_key("/third"));
}

#[test]
fn a_link_never_takes_a_file_out_of_the_root() {
    let secret = std::env::temp_dir().join("images-must-not-be-written");
    let target = secret.parent().unwrap().to_str().unwrap();
    let seen = over(vec![
        Tar::default().symlink("a", "/etc").symlink("b", "../../../../..").symlink("t", target),
        Tar::default().file("a/passwd", b"x").file("b/c", b"x").file("t/images-must-not-be-written", b"x"),
    ]);
    assert!(!secret.exists());
    assert_eq!(seen["/a"].link.as_deref(), Some("/etc"), "links stay as they are");
    assert!(seen.contains_key("/etc/passwd") && seen.contains_key("/c"), "{seen:?}");
    assert!(seen.contains_key(&format!("{target}/images-must-not-be-written")));
}

#[test]
fn kinds_replace_each_other() {
    let seen = over(vec![
        Tar::default().file("file", b"1").dir("dir").file("dir/x", b"1").symlink("link", "dir").file("dir2/x", b""),
        Tar::default().file("file/now/a/folder", b"2").file("dir", b"2").dir("link").symlink("dir2", "file"),
    ]);
    assert_eq!(
        names(&seen),
        ["/", "/dir", "/dir2", "/file", "/file/now", "/file/now/a", "/file/now/a/folder", "/link"]
    );
    assert_eq!((&seen["/link"].link, &seen["/dir2"].link), (&None, &Some("file".to_owned())));
}

#[test]
fn the_same_layers_give_the_same_bytes_however_they_are_packed() {
    let bench = Bench::new();
    let of = |pack: fn(Tar) -> Layer| {
        let tars = [root(), Tar::default().file("x", &[9; 200_000]).file("app/.wh.none", b"")];
        ImageOf::new(tars.into_iter().map(pack).collect())
    };
    let first = bench.image(&of(Layer::plain).oci());
    assert_eq!((first.report.kind, first.report.layers), (InputKind::OciArchive, 2));
    for again in [of(Layer::gzip).oci(), of(Layer::zstd).oci(), of(Layer::plain).docker()] {
        assert_eq!(bench.image(&again).rootfs, first.rootfs);
    }
    assert_eq!(cat(&first.rootfs.path, "app/run"), SCRIPT);
}

#[test]
fn long_names_and_big_owners_come_through_records() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let seen = over(vec![
        Tar::default()
            .pax(&[("path", long.as_bytes()), ("uid", b"3000000"), ("gid", b"4000000"), ("mtime", b"1600000000.5")])
            .file("short", b"x")
            .file(&format!("{}/gnu", "g".repeat(150)), b"x")
            .pax(&[("mtime", b"-5")])
            .file("old", b"x"),
    ]);
    assert!(seen.contains_key(&format!("/{}/gnu", "g".repeat(150))));
    assert_eq!(seen[&format!("/{long}")].owner, "3000000/4000000");
    assert_eq!(seen[&format!("/{long}")].mtime, "2020-09-13 12:26");
    assert_eq!(seen["/old"].mtime, "1970-01-01 00:00");
}
