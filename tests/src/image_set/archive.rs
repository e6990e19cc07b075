//! Image archives, written without a container tool: layers, an OCI layout with as many images as are wanted, and what
//! `docker save` writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context as _;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const OCI: &str = "application/vnd.oci.image";
const ZSTD_LEVEL: i32 = 3;

/// How a layer's tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// As most are.
    #[default]
    Gzip,
    /// As newer ones are.
    Zstd,
}

/// A layer as it is stored.
#[derive(Debug, Clone)]
pub struct Packed {
    stored: Vec<u8>,
    /// The digest of the tar inside.
    unpacked: String,
    packing: Packing,
}

impl Packed {
    /// Packs a tar.
    ///
    /// # Errors
    /// None that would be the caller's.
    pub fn pack(tar: Vec<u8>, packing: Packing) -> io::Result<Self> {
        let unpacked = digest(&tar);
        let stored = match packing {
            Packing::Plain => tar,
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&tar)?;
                encoder.finish()?
            }
            Packing::Zstd => zstd::encode_all(tar.as_slice(), ZSTD_LEVEL)?,
        };
        Ok(Self { stored, unpacked, packing })
    }

    /// A layer that is packed already.
    ///
    /// # Errors
    /// It is not packed so.
    pub fn stored(stored: Vec<u8>, packing: Packing) -> io::Result<Self> {
        let mut inside: Box<dyn Read + '_> = match packing {
            Packing::Plain => Box::new(stored.as_slice()),
            Packing::Gzip => Box::new(MultiGzDecoder::new(stored.as_slice())),
            Packing::Zstd => Box::new(zstd::Decoder::new(stored.as_slice())?),
        };
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 128 * 1024];
        loop {
            let count = inside.read(&mut piece)?;
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
        }
        drop(inside);
        Ok(Self { stored, unpacked: text_of(&hasher.finalize()), packing })
    }
}

/// An OCI layout: blobs, and the images at its top.
#[derive(Debug, Default)]
pub struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    top: Vec<Value>,
}

impl Layout {
    /// Adds a blob; its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        self.blobs.insert(digest, bytes);
        descriptor
    }

    /// Adds an image for a machine (`os`, `architecture` and perhaps `variant`); its descriptor.
    pub fn image(&mut self, config: &Value, platform: &Value, layers: &[Packed]) -> Value {
        let document = document(config, platform, layers).to_string();
        let config = self.blob(&format!("{OCI}.config.v1+json"), document.into_bytes());
        let mut stored = Vec::new();
        for layer in layers {
            let packing = match layer.packing {
                Packing::Plain => "",
                Packing::Gzip => "+gzip",
                Packing::Zstd => "+zstd",
            };
            stored.push(self.blob(&format!("{OCI}.layer.v1.tar{packing}"), layer.stored.clone()));
        }
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": stored });
        let mut descriptor = self.blob(&format!("{OCI}.manifest.v1+json"), manifest.to_string().into_bytes());
        descriptor["platform"] = platform.clone();
        descriptor
    }

    /// Adds an index of images; its descriptor.
    pub fn index(&mut self, images: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "manifests": images });
        self.blob(&format!("{OCI}.index.v1+json"), index.to_string().into_bytes())
    }

    /// Puts what a descriptor names at the top.
    #[must_use]
    pub fn with(mut self, descriptor: Value) -> Self {
        self.top.push(descriptor);
        self
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, into: &Path) -> anyhow::Result<()> {
        let index = json!({ "schemaVersion": 2, "manifests": self.top }).to_string();
        let mut members = vec![
            ("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".as_slice()),
            ("index.json".to_owned(), index.as_bytes()),
        ];
        members.extend(self.blobs.iter().map(|(digest, bytes)| (blob_name(digest), bytes.as_slice())));
        write(into, &members)
    }
}

/// Writes an image as `docker save` does.
///
/// # Errors
/// The file cannot be written.
pub(super) fn docker(config: &Value, platform: &Value, layers: &[Packed], into: &Path) -> anyhow::Result<()> {
    let document = document(config, platform, layers).to_string();
    let name = blob_name(&digest(document.as_bytes()));
    let stored: Vec<String> = layers.iter().map(|layer| blob_name(&digest(&layer.stored))).collect();
    let manifest = json!([{ "Config": name, "RepoTags": ["image:latest"], "Layers": stored }]).to_string();
    let mut members = vec![("manifest.json".to_owned(), manifest.as_bytes()), (name, document.as_bytes())];
    members.extend(stored.into_iter().zip(layers).map(|(name, layer)| (name, layer.stored.as_slice())));
    write(into, &members)
}

/// An image's configuration.
fn document(config: &Value, platform: &Value, layers: &[Packed]) -> Value {
    let sums: Vec<&str> = layers.iter().map(|layer| layer.unpacked.as_str()).collect();
    let mut document = json!({ "config": config, "rootfs": { "type": "layers", "diff_ids": sums } });
    for (name, value) in platform.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document
}

fn write(into: &Path, members: &[(String, &[u8])]) -> anyhow::Result<()> {
    let all = || {
        let mut archive = tar::Builder::new(File::create(into)?);
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
            archive.append_data(&mut header, name, *bytes)?;
        }
        archive.into_inner()?.flush()
    };
    all().with_context(|| format!("{} cannot be written", into.display()))
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    text_of(&Sha256::digest(bytes))
}

fn text_of(sum: &[u8]) -> String {
    sum.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
