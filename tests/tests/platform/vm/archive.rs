//! Image archives, made without Docker: by tar, by hand where tar would not make such a thing.

use std::path::Path;
use std::process::Command;

/// An OCI archive with one layer of these files.
pub(super) fn oci_archive(folder: &Path, entrypoint: &str, files: &[(&str, &Path)]) -> String {
    run(folder, "rm -rf root && mkdir -p root/bin");
    for (name, from) in files {
        std::fs::copy(from, folder.join("root").join(name)).unwrap();
    }
    run(folder, "tar -C root -cf layer.tar .");
    oci_of(folder, "amd64", entrypoint, "layer.tar")
}

/// An OCI archive of this layer, which may be packed by gzip or zstd.
pub(super) fn oci_of(folder: &Path, architecture: &str, entrypoint: &str, layer: &str) -> String {
    oci_with(folder, architecture, &format!("{{\"Entrypoint\":{entrypoint}}}"), layer)
}

/// The same with all of its configuration.
pub(super) fn oci_with(folder: &Path, architecture: &str, config: &str, layer: &str) -> String {
    run(folder, "rm -rf image && mkdir -p image/blobs/sha256");
    let put = |file: &str| {
        let digest = run(folder, &format!("sha256sum {file} | cut -d' ' -f1"));
        let size = std::fs::metadata(folder.join(file)).unwrap().len();
        run(folder, &format!("mv {file} image/blobs/sha256/{digest}"));
        format!("\"digest\":\"sha256:{digest}\",\"size\":{size}")
    };
    let (unpack, packing) = match layer {
        _ if layer.ends_with(".gz") => ("zcat", "+gzip"),
        _ if layer.ends_with(".zst") => ("zstd -qdc", "+zstd"),
        _ => ("cat", ""),
    };
    let diff = run(folder, &format!("{unpack} {layer} | sha256sum | cut -d' ' -f1"));
    let layer = put(layer);
    let write = |file: &str, text: String| std::fs::write(folder.join(file), text).unwrap();
    write(
        "config",
        format!(
            "{{\"architecture\":\"{architecture}\",\"os\":\"linux\",\"config\":{config},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{diff}\"]}}}}"
        ),
    );
    let (oci, config) = ("application/vnd.oci.image", put("config"));
    write(
        "manifest",
        format!(
            "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"{oci}.config.v1+json\",{config}}},\
             \"layers\":[{{\"mediaType\":\"{oci}.layer.v1.tar{packing}\",{layer}}}]}}"
        ),
    );
    let manifest = put("manifest");
    write(
        "image/index.json",
        format!("{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"{oci}.manifest.v1+json\",{manifest}}}]}}"),
    );
    write("image/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}".to_owned());
    run(folder, "tar -C image -cf image.tar .");
    folder.join("image.tar").display().to_string()
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
