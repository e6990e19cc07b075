//! Archives of files: the plain way from a tar to a file system that the kernel mounts.

use std::process::Command;

use images::{Error, InputKind};

use crate::archives::{Tar, elf, gzip, root, zstd};
use crate::look::{Bench, blake3_of, cat, list};

#[test]
fn a_tar_becomes_a_squashfs_with_the_same_files() {
    let bench = Bench::starting("/app/run");
    let input = root()
        .member(tar::EntryType::Regular, "etc/data", &vec![7; 300_000], |header| {
            header.set_mode(0o4640);
            header.set_uid(1000);
            header.set_gid(1001);
            header.set_mtime(1_600_000_000);
        })
        .symlink("link", "/etc/data")
        .hard_link("again", "etc/data")
        .bytes();
    let image = bench.image(&input);
    assert_eq!(image.report.kind, InputKind::RootFs);
    assert_eq!((image.report.layers, image.report.entries), (1, 8));
    assert_eq!(image.rootfs.digest.to_string(), blake3_of(&image.rootfs.path));
    assert_eq!(image.rootfs.path.metadata().unwrap().len(), image.rootfs.size.0);

    let seen = list(&image.rootfs.path);
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["/", "/again", "/app", "/app/run", "/bin", "/bin/sh", "/etc", "/etc/data", "/link"]);
    let data = &seen["/etc/data"];
    assert_eq!((data.mode.as_str(), data.owner.as_str()), ("-rwSr-----", "1000/1001"));
    assert_eq!(data.mtime, "2020-09-13 12:26");
    assert_eq!(seen["/link"].link.as_deref(), Some("/etc/data"));
    assert_eq!(seen["/app/run"].mode, "-rwxr-xr-x");
    assert_eq!(cat(&image.rootfs.path, "again"), vec![7; 300_000]);
}

#[test]
fn packed_tars_are_recognised_by_their_bytes() {
    let bench = Bench::starting("/app/run");
    let plain = bench.image(&root().bytes());
    for packed in [gzip(&root().bytes()), zstd(&root().bytes())] {
        assert_eq!(bench.image(&packed).rootfs, plain.rootfs, "the same files give the same bytes");
    }
    let old = {
        // An archive from before tar had a magic.
        let mut bytes = Tar::default().program("run", &elf(62, None)).bytes();
        bytes[257..265].fill(0);
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&bytes[..512]);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        bytes
    };
    assert_eq!(Bench::starting("/run").image(&old).report.entries, 1);
}

#[test]
fn the_order_of_an_archive_does_not_matter() {
    let bench = Bench::starting("/a");
    let program = elf(62, None);
    let one = bench.image(&Tar::default().program("a", &program).dir("d").file("d/x", b"1").file("b", b"2").bytes());
    let other =
        bench.image(&Tar::default().file("./b", b"2").dir("d/").file("/d/x", b"1").program("a", &program).bytes());
    assert_eq!(one.rootfs.digest, other.rootfs.digest);
}

#[test]
fn the_kernel_mounts_it() {
    let bench = Bench::starting("/app/run");
    let mut input = root();
    // More than a block of names, of inodes and of data; names that are no text; holes.
    for number in 0..5000 {
        input = input.file(&format!("many/file-with-a-rather-long-name-{number:05}"), &[1; 10]);
    }
    let noise: Vec<u8> =
        (0..1_000_000_u32).flat_map(|number| blake3::hash(&number.to_le_bytes()).as_bytes()[..1].to_vec()).collect();
    input = input.file("noise", &noise).file("zeros", &vec![0; 1 << 20]).file("empty", b"");
    input = input.raw_member(tar::EntryType::Regular, b"not-\xff-text", b"x", &|_| {});
    let image = bench.image(&input.bytes());
    let point = bench.folder.path().join("mounted");
    std::fs::create_dir(&point).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "squashfs", "-o", "loop,ro"]).arg(&image.rootfs.path).arg(&point).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        // This machine cannot mount squashfs: unsquashfs looks instead.
        assert_eq!(list(&image.rootfs.path).len(), 5011);
        assert_eq!(cat(&image.rootfs.path, "noise"), noise);
        return;
    }
    let names = std::fs::read_dir(point.join("many")).unwrap().count();
    let read = |name: &str| std::fs::read(point.join(name)).unwrap();
    let seen = (names, read("noise") == noise, read("zeros") == vec![0; 1 << 20], read("empty").len());
    let last = std::fs::metadata(point.join("many/file-with-a-rather-long-name-04999")).is_ok();
    assert!(Command::new("umount").arg(&point).status().unwrap().success());
    assert_eq!((seen, last), ((5000, true, true, 0), true));
}

#[test]
fn an_archive_of_files_needs_a_command() {
    let missing = Bench::new().convert(&root().bytes()).unwrap_err();
    assert!(matches!(missing, Error::MissingEntryPoint(_)), "{missing}");
    let missing = Bench::starting("/app/other").convert(&root().bytes()).unwrap_err();
    assert!(missing.to_string().contains("`/app/other` is not in the image"), "{missing}");
    let missing = Bench::starting("/x").convert(&Tar::default().bytes()).unwrap_err();
    assert!(matches!(missing, Error::MissingEntryPoint(_)), "an empty archive: {missing}");
}

#[test]
fn files_of_image_archives_in_a_root_are_just_files() {
    let bench = Bench::starting("/app/run");
    let input =
        root().file("manifest.json", b"{\"name\":\"an app\"}").file("oci-layout", b"x").file("index.json", b"[]");
    let image = bench.image(&input.bytes());
    assert_eq!(image.report.kind, InputKind::RootFs);
    // Removals are a matter of layers.
    let names = bench.listing(&root().file("app/.wh.run", b"").bytes());
    assert!(names.contains_key("/app/run") && names.contains_key("/app/.wh.run"));
}

#[test]
fn devices_pipes_and_attributes_are_left_out_and_counted() {
    let bench = Bench::starting("/app/run");
    let input = root()
        .device("dev/null", tar::EntryType::Char, 1, 3)
        .device("dev/sda", tar::EntryType::Block, 8, 0)
        .device("dev/zero", tar::EntryType::Char, 0, 0)
        .device("run/pipe", tar::EntryType::Fifo, 0, 0)
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=\0")])
        .program("bin/ping", b"#!/bin/sh\n");
    let image = bench.image(&input.bytes());
    let dropped = image.report.dropped;
    assert_eq!((dropped.devices, dropped.pipes, dropped.attributes), (3, 1, 1));
    let names = list(&image.rootfs.path);
    assert!(names.contains_key("/bin/ping") && !names.contains_key("/dev/null") && !names.contains_key("/run/pipe"));
}
