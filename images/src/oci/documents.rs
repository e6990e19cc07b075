//! The few fields of OCI's and docker's documents that matter here. What is not known is passed over: there are many
//! writers, and `oci-spec` would refuse some of them.

use std::collections::BTreeMap;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::platform::Platform;

const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// An image's own name; containerd's is the whole one.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
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

    /// What is known of it without a look at it: it says something of an image, and is none.
    pub(super) fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE) || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }

    /// What it calls itself.
    pub(super) fn name(&self) -> Option<&str> {
        NAMES.iter().find_map(|name| self.annotations.get(*name)).map(String::as_str)
    }
}

/// An image's manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    /// What it is about, where it is no image.
    #[serde(default)]
    subject: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Signatures, bills of materials and the like are kept in the same way as images.
    pub(super) fn is_image(&self) -> bool {
        let kind = self.config.media_type.as_str();
        self.subject.is_none() && (kind.is_empty() || CONFIG_TYPES.contains(&kind))
    }
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
    #[serde(flatten)]
    pub(super) platform: Platform,
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
    #[serde(deserialize_with = "words")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "words")]
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

/// A list of words. A text is one word, as container runtimes read it: builders have made a list of a shell's line.
fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Words;

    impl<'de> Visitor<'de> for Words {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of words for `Entrypoint` and `Cmd`, or a text that is one word")
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Self::Value, E> {
            Ok(vec![word.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    from.deserialize_any(Words)
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
