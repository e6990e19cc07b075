//! Image archives, made without Docker: by tar, by hand where tar would not make such a thing.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::image_set::{Layout, Packed, Packing};

/// An OCI archive with one layer of these files.
pub(super) fn oci_archive(folder: &Path, entrypoint: &str, files: &[(&str, &Path)]) -> String {
    run(folder, "rm -rf root && mkdir -p root/bin");
    for (name, from) in files {
        std::fs::copy(from, folder.join("root").join(name)).unwrap();
    }
    run(folder, "tar -C root -cf layer.tar .");
    oci_of(folder, "amd64", entrypoint, "layer.tar")
}

/// An OCI archive of this layer, which may be packed by gzip. The entrypoint is a list of JSON.
pub(super) fn oci_of(folder: &Path, architecture: &str, entrypoint: &str, layer: &str) -> String {
    let packing = if layer.ends_with(".gz") { Packing::Gzip } else { Packing::Plain };
    let layer = Packed::stored(std::fs::read(folder.join(layer)).unwrap(), packing).unwrap();
    let entrypoint: serde_json::Value = serde_json::from_str(entrypoint).unwrap();
    let platform = json!({ "os": "linux", "architecture": architecture });
    let mut layout = Layout::default();
    let image = layout.image(&json!({ "Entrypoint": entrypoint }), &platform, &[layer]);
    let archive = folder.join("image.tar");
    layout.with(image).write(&archive).unwrap();
    archive.display().to_string()
}

/// A command line in this folder, that must go well; what it says.
pub(super) fn run(folder: &Path, line: &str) -> String {
    let done = Command::new("sh").args(["-ec", line]).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Kinds of a tar's members.
pub(super) mod kind {
    pub(crate) const FILE: u8 = b'0';
    pub(crate) const HARD_LINK: u8 = b'1';
    pub(crate) const SYMLINK: u8 = b'2';
    pub(crate) const BLOCK: u8 = b'4';
    pub(crate) const CHARACTER: u8 = b'3';
}

/// A member of a tar, whatever its name says.
pub(super) fn member(kind: u8, name: &str, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(157, target);
    put(257, "ustar");
    put(263, "00");
    // The first disk, or `/dev/mem`.
    put(329, if kind == kind::BLOCK { "0000010" } else { "0000001" });
    put(337, if kind == kind::BLOCK { "0000000" } else { "0000001" });
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut member = header.to_vec();
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}
