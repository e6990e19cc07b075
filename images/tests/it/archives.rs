//! Makes archives: tars with any member, layers, and images around them as the usual tools write them.

use std::io::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// `sha256:…` of bytes.
pub(crate) fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A tar in the making.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn member(self, kind: tar::EntryType, path: &str, data: &[u8], set: impl Fn(&mut tar::Header)) -> Self {
        self.raw_member(kind, path.as_bytes(), data, &set)
    }

    /// A member with blocks between its header and its contents, which count as neither.
    pub(crate) fn member_behind(
        self,
        kind: tar::EntryType,
        path: &str,
        blocks: &[u8],
        data: &[u8],
        set: impl Fn(&mut tar::Header),
    ) -> Self {
        let before = self.0.len();
        let mut tar = self.member(kind, path, data, set);
        let contents = tar.0.split_off(before + 512);
        tar.0.extend_from_slice(blocks);
        tar.0.extend_from_slice(&contents);
        tar
    }

    /// The name goes in as it is: the builder of the `tar` crate would refuse the bad ones.
    pub(crate) fn raw_member(
        mut self,
        kind: tar::EntryType,
        path: &[u8],
        data: &[u8],
        set: &dyn Fn(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(1000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        header.set_entry_type(kind);
        set(&mut header);
        let long = path.len() > 100;
        if long {
            self = self.raw_member(tar::EntryType::GNULongName, b"././@LongLink", &[path, b"\0"].concat(), &|_| {});
        }
        header.as_old_mut().name[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Self {
        self.member(tar::EntryType::Regular, path, data, |_| {})
    }

    pub(crate) fn program(self, path: &str, data: &[u8]) -> Self {
        self.member(tar::EntryType::Regular, path, data, |header| header.set_mode(0o755))
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.member(tar::EntryType::Directory, path, b"", |_| {})
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.member(tar::EntryType::Symlink, path, b"", |header| header.set_link_name_literal(target).unwrap())
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.member(tar::EntryType::Link, path, b"", |header| header.set_link_name_literal(target).unwrap())
    }

    pub(crate) fn device(self, path: &str, kind: tar::EntryType, major: u32, minor: u32) -> Self {
        self.member(kind, path, b"", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    /// PAX records of the next member.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.member(tar::EntryType::XHeader, "pax", &data, |_| {})
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A script that can start where `/bin/sh` is.
pub(crate) const SCRIPT: &[u8] = b"#!/bin/sh\necho hello\n";

/// Files of a root that can start: a shell that is an ELF header, and a script.
pub(crate) fn root() -> Tar {
    Tar::default().dir("bin").program("bin/sh", &elf(62, None)).dir("app").program("app/run", SCRIPT)
}

/// The smallest ELF file with an entry point: a header, and a loader's name where one is wanted.
pub(crate) fn elf(machine: u16, loader: Option<&str>) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(2_u16.to_le_bytes()); // ET_EXEC
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0x400_078_u64.to_le_bytes()); // e_entry
    bytes.extend(64_u64.to_le_bytes()); // e_phoff
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(64_u16.to_le_bytes());
    bytes.extend(56_u16.to_le_bytes());
    bytes.extend(u16::from(loader.is_some()).to_le_bytes());
    bytes.extend([0; 6]);
    if let Some(loader) = loader {
        let name = [loader.as_bytes(), b"\0"].concat();
        bytes.extend(3_u32.to_le_bytes()); // PT_INTERP
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(120_u64.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(name);
    }
    bytes
}

/// A layer as it is stored, and the tar inside.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) stored: Vec<u8>,
    pub(crate) tar: Vec<u8>,
}

impl Layer {
    pub(crate) fn plain(tar: Tar) -> Self {
        let tar = tar.bytes();
        Self { stored: tar.clone(), tar }
    }

    pub(crate) fn gzip(tar: Tar) -> Self {
        let tar = tar.bytes();
        Self { stored: gzip(&tar), tar }
    }

    pub(crate) fn zstd(tar: Tar) -> Self {
        let tar = tar.bytes();
        Self { stored: zstd(&tar), tar }
    }
}

/// An image in the making.
#[derive(Clone)]
pub(crate) struct ImageOf {
    pub(crate) architecture: &'static str,
    pub(crate) os: &'static str,
    pub(crate) config: Value,
    pub(crate) layers: Vec<Layer>,
}

impl ImageOf {
    pub(crate) fn new(layers: Vec<Layer>) -> Self {
        let config = json!({ "Entrypoint": ["/app/run"], "Cmd": ["--now"], "Env": ["PATH=/bin:/usr/bin", "A=b=c"] });
        Self { architecture: "amd64", os: "linux", config, layers }
    }

    pub(crate) fn document(&self) -> Vec<u8> {
        let sums: Vec<String> = self.layers.iter().map(|layer| sum(&layer.tar)).collect();
        let document = json!({
            "architecture": self.architecture, "os": self.os, "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": sums },
        });
        serde_json::to_vec(&document).unwrap()
    }

    /// As `skopeo copy oci-archive:` writes it: an index of one manifest that says no platform.
    pub(crate) fn oci(&self) -> Vec<u8> {
        Layout::default().image(self, None).bytes()
    }

    /// As `docker save` of old and `podman save` write it: bare layers and a `manifest.json`.
    pub(crate) fn docker(&self) -> Vec<u8> {
        let document = self.document();
        let config = format!("{}.json", &sum(&document)[7..]);
        let names: Vec<String> = self.layers.iter().map(|layer| format!("{}.tar", &sum(&layer.tar)[7..])).collect();
        let mut tar = Tar::default();
        for (layer, name) in self.layers.iter().zip(&names) {
            tar = tar.file(name, &layer.stored).symlink(&format!("legacy-{name}/layer.tar"), &format!("../{name}"));
        }
        let manifest = json!([{ "Config": config, "RepoTags": ["a:latest"], "Layers": names }]);
        tar.file(&config, &document).file("manifest.json", manifest.to_string().as_bytes()).bytes()
    }
}

/// An OCI layout in the making.
#[derive(Default)]
pub(crate) struct Layout {
    blobs: Vec<Vec<u8>>,
    pub(crate) manifests: Vec<Value>,
}

impl Layout {
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.blobs.push(bytes.to_vec());
        json!({ "mediaType": media_type, "digest": sum(bytes), "size": bytes.len() })
    }

    pub(crate) fn image(mut self, image: &ImageOf, platform: Option<Value>) -> Self {
        let config = self.blob("application/vnd.oci.image.config.v1+json", &image.document());
        let layers: Vec<Value> = image
            .layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar", &layer.stored))
            .collect();
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let mut descriptor = self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        if let Some(platform) = platform {
            descriptor["platform"] = platform;
        }
        self.manifests.push(descriptor);
        self
    }

    /// Puts all manifests so far into an index below the first.
    pub(crate) fn nest(mut self) -> Self {
        let index = json!({ "schemaVersion": 2, "manifests": std::mem::take(&mut self.manifests) });
        let descriptor = self.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
        self.manifests.push(descriptor);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests });
        let mut tar = Tar::default().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        for blob in &self.blobs {
            tar = tar.file(&format!("blobs/sha256/{}", &sum(blob)[7..]), blob);
        }
        tar.file("index.json", index.to_string().as_bytes()).bytes()
    }
}
