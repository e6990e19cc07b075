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
fn f14_what_is_left_out_is_counted_and_told() {
    let bench = Bench::starting("/app/run");
    let input = root()
        .device("dev/null", tar::EntryType::Char, 1, 3)
        .device("dev/sda", tar::EntryType::Block, 8, 0)
        .device("dev/zero", tar::EntryType::Char, 0, 0)
        .device("run/pipe", tar::EntryType::Fifo, 0, 0)
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=\0")])
        .program("bin/ping", b"#!/bin/sh\n");
    let image = bench.image(&input.hard_link("bin/also", "bin/ping").bytes());
    let dropped = image.report.dropped;
    assert_eq!((dropped.devices, dropped.pipes, dropped.attributes, dropped.links), (3, 1, 1, 1));
    let notes = image.report.notes();
    for (note, words) in
        notes.iter().zip(["3 device files", "1 named pipe was", "1 extended attribute was", "1 hard link"])
    {
        assert!(note.starts_with(words) && note.ends_with('.'), "{notes:?}");
    }
    assert_eq!(notes.len(), 4);
    assert_eq!(bench.image(&root().bytes()).report.notes(), Vec::<String>::new());
    let names = list(&image.rootfs.path);
    assert!(names.contains_key("/bin/ping") && !names.contains_key("/dev/null") && !names.contains_key("/run/pipe"));
}

/// Two holes around six bytes of data, and one at the end.
const HOLES: [(u64, &[u8]); 2] = [(4096, b"abc"), (20_000, b"def")];
const SPARSE_BYTES: u64 = 40_000;

fn filled() -> Vec<u8> {
    let mut whole = vec![0; usize::try_from(SPARSE_BYTES).unwrap()];
    for (offset, data) in HOLES {
        let at = usize::try_from(offset).unwrap();
        whole[at..at + data.len()].copy_from_slice(data);
    }
    whole
}

/// The header of a sparse file as GNU tar writes it by default; of more than four pieces the rest stands behind it.
fn gnu_sparse(tar: Tar, pieces: &[(u64, u64)], data: &[u8], size: u64) -> Tar {
    let (first, more) = pieces.split_at(pieces.len().min(4));
    let set = |header: &mut tar::Header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(size);
        for (to, (offset, length)) in gnu.sparse.iter_mut().zip(first) {
            to.set_offset(*offset);
            to.set_length(*length);
        }
        gnu.set_is_extended(!more.is_empty());
    };
    let mut blocks = Vec::new();
    for (at, pieces) in more.chunks(21).enumerate() {
        let mut block = tar::GnuExtSparseHeader::new();
        for (to, (offset, length)) in block.sparse_mut().iter_mut().zip(pieces) {
            to.set_offset(*offset);
            to.set_length(*length);
        }
        block.set_is_extended(at + 1 < more.len().div_ceil(21));
        blocks.extend_from_slice(block.as_bytes());
    }
    tar.member_behind(tar::EntryType::GNUSparse, "sparse", &blocks, data, set)
}

#[test]
fn f14_sparse_files_are_read_in_each_form() {
    let data: Vec<u8> = HOLES.iter().flat_map(|(_, data)| data.to_vec()).collect();
    let pieces: Vec<(u64, u64)> = HOLES.iter().map(|(offset, data)| (*offset, data.len() as u64)).collect();
    let size = SPARSE_BYTES.to_string();
    let map = "2\n4096\n3\n20000\n3\n".to_owned();
    let before = [format!("{map}{}", "\0".repeat(512 - map.len())).as_bytes(), data.as_slice()].concat();
    let forms = [
        gnu_sparse(root(), &pieces, &data, SPARSE_BYTES),
        root()
            .pax(&[
                ("GNU.sparse.size", size.as_bytes()),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"4096"),
                ("GNU.sparse.numbytes", b"3"),
                ("GNU.sparse.offset", b"20000"),
                ("GNU.sparse.numbytes", b"3"),
            ])
            .file("sparse", &data),
        root()
            .pax(&[
                ("GNU.sparse.size", size.as_bytes()),
                ("GNU.sparse.map", b"4096,3,20000,3"),
                ("GNU.sparse.name", b"sparse"),
            ])
            .file("GNUSparseFile.0/sparse", &data),
        root()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.realsize", size.as_bytes()),
            ])
            .file("GNUSparseFile.0/sparse", &before),
    ];
    for (form, tar) in forms.into_iter().enumerate() {
        // What follows shows that the reader has stayed in step.
        let bytes = tar.file("after", b"x").bytes();
        for input in [bytes.clone(), gzip(&bytes)] {
            let bench = Bench::starting("/app/run");
            let path = bench.image(&input).rootfs.path;
            assert!(cat(&path, "sparse") == filled(), "form {form}");
            assert_eq!(cat(&path, "after"), b"x", "form {form}");
        }
    }
    // More pieces than a header holds, and than one more block holds.
    let pieces: Vec<(u64, u64)> = (0..30).map(|at| (at * 1000, 1)).collect();
    let tar = gnu_sparse(root(), &pieces, &[7; 30], 30_000).file("after", b"x");
    let bench = Bench::starting("/app/run");
    let path = bench.image(&tar.bytes()).rootfs.path;
    let whole = cat(&path, "sparse");
    assert!(whole.len() == 30_000 && whole.iter().step_by(1000).all(|byte| *byte == 7));
    assert_eq!((whole.iter().filter(|byte| **byte != 0).count(), cat(&path, "after")), (30, b"x".to_vec()));
}

#[test]
fn f14_a_sparse_file_that_cannot_be_is_refused_before_it_is_written() {
    let refused = |pieces: &[(u64, u64)], data: &[u8], size: u64| {
        Bench::starting("/app/run").convert(&gnu_sparse(root(), pieces, data, size).bytes()).unwrap_err()
    };
    let over = u64::MAX - 1;
    let maps: [(&[(u64, u64)], u64); 5] =
        [(&[(0, 2), (1, 1)], 10), (&[(0, 2)], 10), (&[(8, 3)], 10), (&[(over, 3)], over), (&[], 10)];
    for (pieces, size) in maps {
        assert!(matches!(refused(pieces, b"abc", size), Error::Unreadable(_)), "{pieces:?}");
    }
    // A hole of a terabyte counts as what it claims to be.
    assert!(matches!(refused(&[(0, 3)], b"abc", 1 << 40), Error::TooLarge { .. }));
}
