//! The few fields of OCI's and docker's documents that matter here. What is not known is passed over: there are many
//! writers, and `oci-spec` would refuse some of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::image::Architecture;

const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// What BuildKit hangs beside an image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// `oci-layout`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayoutFile {
    #[serde(rename = "imageLayoutVersion")]
    _version: String,
}

/// `index.json`, and the indexes below.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

/// A promise of bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        INDEX_TYPES.contains(&self.media_type.as_str())
    }

    pub(super) fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE)
    }
}

/// What an image runs on.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Platform {
    os: String,
    architecture: String,
}

impl Platform {
    pub(super) fn is(&self, wanted: Architecture) -> bool {
        self.os == super::LINUX && self.architecture == wanted.name()
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// An image's manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// An entry of a docker archive's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerManifest {
    pub(super) config: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) layers: Vec<String>,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageDocument {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    pub(crate) config: Option<RunConfig>,
    pub(super) rootfs: LayerSums,
}

/// The digests of the unpacked layers, the lowest first.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LayerSums {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) diff_ids: Vec<String>,
}

/// How a container of the image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) user: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) exposed_ports: BTreeMap<String, serde_json::Value>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
