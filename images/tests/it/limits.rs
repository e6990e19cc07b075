//! Bombs end early: in time, in memory and on disk.

use std::time::{Duration, Instant};

use images::{Bound, Error, Limits};
use protocol::ByteSize;

use crate::archives::{ImageOf, Layer, Tar, gzip, root, sum, zstd};
use crate::look::Bench;

fn bench(limits: Limits) -> Bench {
    Bench { limits, ..Bench::starting("/app/run") }
}

fn bound(limits: Limits, input: &[u8]) -> Bound {
    let started = Instant::now();
    let error = bench(limits).convert(input).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(60), "a refusal must be quick");
    match error {
        Error::TooLarge { bound, .. } => bound,
        other => panic!("{other}"),
    }
}

/// A gzip stream of this many zero MiB, made without holding them.
fn zeros_mib(mib: usize) -> Vec<u8> {
    // Members of a stream may follow each other.
    gzip(&vec![0; 1 << 20]).repeat(mib)
}

#[test]
fn a_bomb_meets_the_ratio_or_the_size() {
    let small = Limits { bytes: ByteSize::mib(2), ..Limits::default() };
    assert_eq!(bound(small.clone(), &zeros_mib(3)), Bound::Bytes);
    let strict = Limits { ratio: 100, ratio_from: ByteSize::mib(1), ..Limits::default() };
    assert_eq!(bound(strict.clone(), &zeros_mib(3)), Bound::Ratio);
    // In a layer, where the archive around it is small.
    let mut image = ImageOf::new(vec![Layer::gzip(root())]);
    image.layers.push(Layer { stored: zeros_mib(3), tar: Vec::new() });
    assert_eq!(bound(strict, &image.oci()), Bound::Ratio);
    // Many layers, each of them modest.
    let layer = Layer::zstd(Tar::default().file("x", &vec![3; 1 << 20]));
    let image = ImageOf::new([vec![Layer::gzip(root())], vec![layer; 5]].concat());
    assert_eq!(bound(small, &image.oci()), Bound::Bytes);
}

#[test]
fn a_bomb_of_names_meets_its_limit() {
    let limits = Limits { entries: 100, ..Limits::default() };
    let many = (0..150).fold(root(), |tar, number| tar.file(&format!("f{number}"), b""));
    assert_eq!(bound(limits.clone(), &many.bytes()), Bound::Entries);
    // Files that later layers hide count, too.
    let hidden =
        |number: u32| Layer::plain((0..40).fold(root(), |tar, file| tar.file(&format!("{number}/{file}"), b"")));
    assert_eq!(bound(limits, &ImageOf::new((0..4).map(hidden).collect()).oci()), Bound::Entries);

    let limits = Limits { names: ByteSize(5000), ..Limits::default() };
    let targets =
        (0..10).fold(root(), |tar, number| tar.pax(&[("linkpath", &[b't'; 1000])]).symlink(&format!("l{number}"), "x"));
    assert_eq!(bound(limits, &targets.bytes()), Bound::Names);
}

#[test]
fn long_and_deep_names_meet_their_limits() {
    let limits = || Limits { path: 1000, depth: 10, ..Limits::default() };
    let path = ["abcdefgh"; 200].join("/");
    assert_eq!(bound(limits(), &root().file(&path, b"").bytes()), Bound::Path);
    assert_eq!(bound(limits(), &root().file(&"x".repeat(300), b"").bytes()), Bound::Path);
    assert_eq!(bound(limits(), &root().pax(&[("linkpath", &[b't'; 1001])]).symlink("l", "x").bytes()), Bound::Path);
    assert_eq!(bound(limits(), &root().file("1/2/3/4/5/6/7/8/9/10/11", b"").bytes()), Bound::Depth);
    // Deeper by way of a link.
    let linked = root().dir("1/2/3/4/5/6/7/8").symlink("l", "1/2/3/4/5/6/7/8").file("l/9/10/11/12", b"");
    assert_eq!(bound(limits(), &linked.bytes()), Bound::Depth);
    // A name that claims gigabytes is not read.
    let name = |header: &mut tar::Header| header.set_size(4 << 30);
    let huge = root().member(tar::EntryType::GNULongName, "././@LongLink", &[b'x'; 2 << 20], name);
    assert_eq!(bound(limits(), &huge.bytes()), Bound::Path);
}

#[test]
fn too_many_layers_and_too_big_documents_are_refused() {
    let limits = Limits { layers: 3, ..Limits::default() };
    let image = ImageOf::new(vec![Layer::gzip(root()); 4]);
    assert_eq!(bound(limits, &image.oci()), Bound::Layers);
    let limits = Limits { manifest: ByteSize(400), ..Limits::default() };
    assert_eq!(bound(limits.clone(), &image.oci()), Bound::Manifest);
    assert_eq!(bound(limits, &image.docker()), Bound::Manifest);
}

#[test]
fn too_many_owners_are_refused() {
    let owned = (0..40_u64).fold(root(), |tar, owner| {
        tar.member(tar::EntryType::Regular, &format!("f{owner}"), b"", |header| header.set_uid(owner))
    });
    assert_eq!(bound(Limits { owners: 20, ..Limits::default() }, &owned.bytes()), Bound::Owners);
}

#[test]
fn a_stopped_conversion_leaves_nothing() {
    let stopped = Bench::starting("/app/run");
    stopped.stop.stop();
    assert!(matches!(stopped.convert(&root().bytes()), Err(Error::Cancelled)));

    let bench = Bench::starting("/app/run");
    let stop = bench.stop.clone();
    let input = (0..40_u8).fold(root(), |tar, number| tar.file(&format!("f{number}"), &noise(number, 1 << 20))).bytes();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        stop.stop();
    });
    // Where the machine is quick, the conversion may have ended before; `convert` checks what is left.
    let result = bench.convert(&zstd(&input));
    stopper.join().unwrap();
    assert!(matches!(result, Err(Error::Cancelled) | Ok(_)), "{result:?}");
}

/// Bytes that do not compress.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn contents_are_not_held_in_memory() {
    // One file of 24 MiB, in a layer that must be unpacked, or lies bare.
    let size = 24 << 20;
    let mut contents = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut contents);
    let tar = root().file("big", &contents).bytes();
    let digest = sum(&contents);
    drop(contents);
    let packed = zstd(&tar);
    for input in [tar, packed] {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &input).unwrap();
        drop(input);
        let bench = Bench::starting("/app/run");
        let before = peak_reset();
        let image = images::convert(file, &bench.options()).unwrap();
        let after = peak();
        assert_eq!(sum(&crate::look::cat(&image.rootfs.path, "big")), digest);
        let grown_mib = after.saturating_sub(before) >> 10;
        eprintln!("24 MiB of contents took {grown_mib} MiB of memory");
        assert!(grown_mib < 16, "{grown_mib} MiB");
    }
}

/// Starts a new peak, and says what is in memory now, in KiB.
fn peak_reset() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
