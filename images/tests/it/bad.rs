//! Whatever is broken is named, and is never the host's fault.

use images::{Blame, Error};
use serde_json::json;

use crate::archives::{ImageOf, Layer, Layout, Tar, elf, gzip, root, zstd};
use crate::look::Bench;

fn refused(input: &[u8]) -> Error {
    let error = Bench::starting("/app/run").convert(input).unwrap_err();
    assert_eq!(error.blame(), Blame::Deployer, "{error}");
    error
}

fn in_layer(tar: Tar) -> Error {
    refused(&ImageOf::new(vec![Layer::gzip(root()), Layer::plain(tar)]).oci())
}

#[test]
fn archives_that_end_too_soon_are_unreadable() {
    let plain = root().file("big", &[5; 100_000]).bytes();
    for whole in [ImageOf::new(vec![Layer::gzip(root())]).oci(), plain.clone(), gzip(&plain), zstd(&plain)] {
        // Without its end marks a tar is still whole.
        let cuts = [whole.len() / 3, whole.len() / 2, whole.len() - whole.len() / 4];
        for cut in cuts {
            let error = refused(&whole[..cut]);
            assert!(matches!(error, Error::Unreadable(_) | Error::MissingEntryPoint(_)), "{cut}: {error}");
        }
    }
}

#[test]
fn damaged_bytes_never_panic_and_never_blame_the_host() {
    let image = ImageOf::new(vec![Layer::gzip(root()), Layer::zstd(Tar::default().file("x", &[1; 5000]))]);
    let bench = Bench::new();
    for whole in [image.oci(), image.docker(), gzip(&root().bytes()), zstd(&root().bytes())] {
        for at in (0..whole.len()).step_by(whole.len() / 150 + 1) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            if let Err(error) = bench.convert(&damaged) {
                assert_eq!(error.blame(), Blame::Deployer, "{at}: {error}");
            }
        }
    }
}

#[test]
fn names_that_leave_the_root_are_refused() {
    for name in ["../x", "a/../../x", "a/..", "/../x", "a/../x"] {
        let error = in_layer(Tar::default().raw_member(tar::EntryType::Regular, name.as_bytes(), b"", &|_| {}));
        assert!(matches!(error, Error::PathLeavesRoot(_)), "{name}: {error}");
        let error = in_layer(Tar::default().raw_member(tar::EntryType::Directory, name.as_bytes(), b"", &|_| {}));
        assert!(matches!(error, Error::PathLeavesRoot(_)), "{name}: {error}");
    }
    let removal = in_layer(Tar::default().raw_member(tar::EntryType::Regular, b"a/../.wh.x", b"", &|_| {}));
    assert!(matches!(removal, Error::PathLeavesRoot(_)), "{removal}");
    let hard_link = in_layer(Tar::default().hard_link("x", "../../etc/passwd"));
    assert!(matches!(hard_link, Error::PathLeavesRoot(_)), "{hard_link}");
    let record = in_layer(Tar::default().pax(&[("path", b"../x")]).file("x", b""));
    assert!(matches!(record, Error::PathLeavesRoot(_)), "{record}");
}

#[test]
fn nonsense_in_a_layer_is_unreadable() {
    let file = |path: &str| Tar::default().file(path, b"1");
    for (what, tar) in [
        ("a hard link to nothing", Tar::default().hard_link("x", "nothing")),
        ("a hard link to a folder", Tar::default().hard_link("x", "app")),
        ("a hard link to itself", Tar::default().hard_link("x", "x")),
        ("a file in a file", file("a").file("a/b", b"2")),
        ("a link as the root", Tar::default().symlink("./", "x")),
        ("a circle of links", Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", b"")),
        ("a link to nowhere", Tar::default().symlink("a", "")),
        ("a zero byte in a name", Tar::default().pax(&[("path", b"a\0b")]).file("x", b"")),
        ("a sparse file without a size", Tar::default().pax(&[("GNU.sparse.major", b"1")]).file("x", b"")),
        ("two sizes", Tar::default().pax(&[("size", b"7")]).file("x", b"12")),
        (
            "a broken record",
            Tar::default().member(tar::EntryType::XHeader, "pax", b"9 nonsense", |_| {}).file("x", b""),
        ),
    ] {
        let error = in_layer(tar);
        assert!(matches!(error, Error::Unreadable(_)), "{what}: {error}");
    }
}

#[test]
fn kinds_that_are_not_offered_are_named() {
    let named = |input: &[u8], name: &str| {
        let error = refused(input);
        assert!(matches!(error, Error::Unsupported(_)) && error.to_string().contains(name), "{name}: {error}");
    };
    named(b"PK\x03\x04...", "ZIP");
    named(b"\xfd7zXZ\0\0", "xz");
    named(b"BZh91AY", "bzip2");
    named(b"", "empty");
    named(b"\0asm\x01\0\0\0", "WebAssembly");
    named(b"just a text", "base");
    named(&gzip(b"#!/bin/sh\n"), "packed");
    named(&Tar::default().member(tar::EntryType::new(b'V'), "label", b"", |_| {}).bytes(), "type `V`");
}

#[test]
fn documents_that_do_not_fit_are_unreadable() {
    let layout = |index: &str| {
        let tar = Tar::default().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        refused(&tar.file("index.json", index.as_bytes()).bytes())
    };
    let missing = json!({ "manifests": [{ "digest": format!("sha256:{}", "0".repeat(64)), "size": 5 }] });
    for index in ["", "{", "{}", "[]", &missing.to_string()] {
        assert!(matches!(layout(index), Error::Unreadable(_)), "{index}");
    }
    let docker = |manifest: &str| refused(&root().file("manifest.json", manifest.as_bytes()).bytes());
    assert!(matches!(docker("[]"), Error::Unreadable(_)));
    assert!(matches!(docker(r#"[{"Config":"none.json","Layers":[]}]"#), Error::Unreadable(_)));
    assert!(matches!(docker(r#"[{"Config":"../../etc/passwd","Layers":["/etc/shadow"]}]"#), Error::Unreadable(_)));

    let mut image = ImageOf::new(vec![Layer::gzip(root())]);
    image.config["WorkingDir"] = json!("relative");
    assert!(matches!(refused(&image.oci()), Error::InvalidConfig(_)));
    image.config = json!({ "Cmd": ["/app/run"], "Env": ["=x"] });
    assert!(matches!(refused(&image.oci()), Error::InvalidConfig(_)));

    // Indexes in indexes in indexes.
    let deep = (0..8).fold(Layout::default().image(&ImageOf::new(vec![]), None), |layout, _| layout.nest());
    assert!(matches!(refused(&deep.bytes()), Error::Unreadable(_)));
}

#[test]
fn an_entry_point_that_cannot_start_is_missing() {
    let start = |command: &str, tar: Tar| {
        let error = Bench::starting(command).convert(&tar.bytes()).unwrap_err();
        assert!(matches!(error, Error::MissingEntryPoint(_)), "{command}: {error}");
        error.to_string()
    };
    assert!(start("/app", root()).contains("not a file"));
    assert!(start("/x", root().file("x", b"#!/bin/sh\n")).contains("not executable"));
    assert!(start("/x", root().symlink("x", "nowhere")).contains("not in the image"));
    assert!(start("x", root()).contains("not in the image"));
    assert!(start("/x", root().program("x", b"echo")).contains("neither"));
    assert!(start("/x", root().program("x", b"")).contains("neither"));
    assert!(start("/x", root().program("x", b"#!/bin/python9\n")).contains("python9"));
    assert!(start("/x", root().program("x", b"#!/bin/sh\r\n")).contains("\\r"));
    assert!(start("/x", root().program("x", b"#!/x\n")).contains("script"));
    assert!(start("/x", root().program("bin/env", &elf(62, None)).program("x", b"#!/bin/env ruby\n")).contains("ruby"));
    assert!(start("/x", root().program("x", &elf(62, Some("/lib/ld.so")))).contains("/lib/ld.so"));
    assert!(start("/x", root().program("x", b"\x7fELF\x02")).contains("cut off"));
}
