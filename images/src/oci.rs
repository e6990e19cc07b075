//! Image archives: which documents they hold, which image of them is meant, and that every byte is what they promise.

mod documents;
mod files;
mod platform;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

pub(crate) use self::documents::{ImageDocument, RunConfig};
pub(crate) use self::files::Files;

use self::documents::{Descriptor, DockerManifest, Index, LayoutFile, Manifest};
use self::platform::Platform;
use crate::error::{Bound, Error};
use crate::image::{Architecture, Choice, InputKind};
use crate::layer::sum_text;
use crate::limits::Gauge;
use crate::source::{Blob, Stores};

/// Indexes within indexes.
const INDEX_DEPTH_MAX: usize = 4;
/// Manifests that are looked at.
const MANIFESTS_MAX: usize = 256;
const LINUX: &str = "linux";

/// A layer, and what it must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerBlob {
    pub(crate) blob: Blob,
    /// Of the stored bytes; a docker archive does not say.
    pub(crate) stored: Option<String>,
    /// Of the tar inside.
    pub(crate) unpacked: String,
}

/// One image of an archive, its documents checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) kind: InputKind,
    pub(crate) config: RunConfig,
    pub(crate) layers: Vec<LayerBlob>,
    /// Where there were several: which one it is, and of which.
    pub(crate) choice: Option<Choice>,
}

/// A manifest that may be the one.
struct Candidate {
    descriptor: Descriptor,
    /// Of the image that it belongs to.
    name: Option<String>,
}

/// One that runs here.
struct Fitting {
    rank: u8,
    platform: String,
    candidate: Candidate,
}

/// Looks images up in an archive.
pub(crate) struct Reader<'a> {
    stores: &'a Stores,
    files: &'a Files,
    gauge: &'a Gauge,
    wanted: Architecture,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(stores: &'a Stores, files: &'a Files, gauge: &'a Gauge, wanted: Architecture) -> Self {
        Self { stores, files, gauge, wanted }
    }

    /// The image that is meant; none where this is no image archive.
    pub(crate) fn choose(&self) -> Result<Option<Chosen>, Error> {
        if self.is_layout()? {
            return self.layout().map(Some);
        }
        match self.docker_manifest()? {
            Some(manifests) => self.docker(manifests).map(Some),
            None => Ok(None),
        }
    }

    fn is_layout(&self) -> Result<bool, Error> {
        let (Some(layout), Some(_)) = (self.files.find("oci-layout"), self.files.find("index.json")) else {
            return Ok(false);
        };
        // A root file system may have files of these names, too.
        Ok(serde_json::from_slice::<LayoutFile>(&self.small(layout, "oci-layout")?).is_ok())
    }

    /// Of the images that run here the best; of those that are as good the first, as the specification wants it.
    fn layout(&self) -> Result<Chosen, Error> {
        let index: Index = self.document(self.files.find("index.json"), "index.json")?;
        let mut candidates = Vec::new();
        self.collect(&index, 0, None, &mut candidates)?;
        let level = platform::level();
        let mut fitting: Vec<Fitting> = Vec::new();
        let mut all: Vec<String> = Vec::new();
        for candidate in candidates {
            let Some(platform) = self.platform(&candidate.descriptor)? else { continue };
            let known = |one: &Fitting| one.candidate.descriptor.digest == candidate.descriptor.digest;
            if fitting.iter().any(known) {
                continue;
            }
            all.push(platform.to_string());
            if let Some(rank) = platform.rank(self.wanted, level) {
                fitting.push(Fitting { rank, platform: platform.to_string(), candidate });
            }
        }
        let names: BTreeSet<&str> = fitting.iter().filter_map(|one| one.candidate.name.as_deref()).collect();
        if names.len() > 1 {
            return Err(several(names.len()));
        }
        fitting.sort_by_key(|one| std::cmp::Reverse(one.rank));
        let mut wrong = self.wrong(&all);
        for one in fitting {
            match self.manifest(&one.candidate.descriptor) {
                Ok(chosen) if all.len() > 1 => {
                    return Ok(Chosen { choice: Some(Choice { platform: one.platform, of: all }), ..chosen });
                }
                // Its configuration may know better.
                Err(error @ Error::WrongPlatform { .. }) => wrong = error,
                other => return other,
            }
        }
        Err(wrong)
    }

    /// What a manifest's image runs on; none where it is no image.
    fn platform(&self, descriptor: &Descriptor) -> Result<Option<Platform>, Error> {
        if descriptor.platform.is_some() {
            return Ok(descriptor.platform.clone());
        }
        let manifest: Manifest = self.described(descriptor, "the manifest")?;
        if !manifest.is_image() {
            return Ok(None);
        }
        let image: ImageDocument = self.described(&manifest.config, "the configuration")?;
        Ok(Some(image.platform))
    }

    /// All manifests of an index that are in the archive, those of nested indexes included.
    fn collect(&self, index: &Index, depth: usize, name: Option<&str>, into: &mut Vec<Candidate>) -> Result<(), Error> {
        for descriptor in &index.manifests {
            if descriptor.is_attestation() {
                continue;
            }
            let name = name.or_else(|| descriptor.name());
            if descriptor.is_index() {
                if depth >= INDEX_DEPTH_MAX {
                    return Err(Error::unreadable("its indexes are nested too deep"));
                }
                let nested: Index = self.described(descriptor, "an index")?;
                self.collect(&nested, depth + 1, name, into)?;
            } else if into.len() >= MANIFESTS_MAX {
                return Err(Error::unreadable(format!("it has more than {MANIFESTS_MAX} manifests")));
            // Of an image for many machines, `docker save` writes the index, and the blobs of one.
            } else if self.blob(descriptor).is_some() || depth == 0 {
                into.push(Candidate { descriptor: descriptor.clone(), name: name.map(str::to_owned) });
            }
        }
        Ok(())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Chosen, Error> {
        let manifest: Manifest = self.described(descriptor, "the manifest")?;
        let image: ImageDocument = self.described(&manifest.config, "the configuration")?;
        self.check_platform(&image)?;
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            let missing = || Error::unreadable(format!("the layer {} is not in the archive", layer.digest));
            layers.push((self.blob(layer).ok_or_else(missing)?, Some(layer.digest.clone())));
        }
        self.chosen(InputKind::OciArchive, image, layers)
    }

    /// The `manifest.json` of a docker archive, if it is one.
    fn docker_manifest(&self) -> Result<Option<Vec<DockerManifest>>, Error> {
        let Some(blob) = self.files.find("manifest.json") else { return Ok(None) };
        // A root file system may have a file of this name, too.
        Ok(serde_json::from_slice(&self.small(blob, "manifest.json")?).ok())
    }

    fn docker(&self, mut manifests: Vec<DockerManifest>) -> Result<Chosen, Error> {
        if manifests.len() > 1 {
            return Err(several(manifests.len()));
        }
        let manifest = manifests.pop().ok_or_else(|| Error::unreadable("its manifest.json names no image"))?;
        let config = self.files.find(&manifest.config);
        let bytes = self.required(config, &manifest.config)?;
        // The file's name is its digest.
        let name = manifest.config.rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(".json").unwrap_or(name);
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            check_sum("the configuration", &format!("sha256:{name}"), &bytes)?;
        }
        let image: ImageDocument = parse(&bytes, &manifest.config)?;
        self.check_platform(&image)?;
        let mut layers = Vec::new();
        for name in &manifest.layers {
            let missing = || Error::unreadable(format!("the layer {name} is not in the archive"));
            layers.push((self.files.find(name).ok_or_else(missing)?, None));
        }
        self.chosen(InputKind::DockerArchive, image, layers)
    }

    fn chosen(
        &self,
        kind: InputKind,
        image: ImageDocument,
        layers: Vec<(Blob, Option<String>)>,
    ) -> Result<Chosen, Error> {
        let limit = self.gauge.limits.layers;
        if layers.len() > limit {
            return Err(Error::TooLarge { bound: Bound::Layers, limit: u64::try_from(limit).unwrap_or(u64::MAX) });
        }
        let sums = image.rootfs.diff_ids;
        if sums.len() != layers.len() {
            let detail = format!("its configuration has {} layers, its manifest {}", sums.len(), layers.len());
            return Err(Error::unreadable(detail));
        }
        let layers = layers.into_iter().zip(sums);
        let layers = layers.map(|((blob, stored), unpacked)| LayerBlob { blob, stored, unpacked }).collect();
        Ok(Chosen { kind, config: image.config.unwrap_or_default(), layers, choice: None })
    }

    fn check_platform(&self, image: &ImageDocument) -> Result<(), Error> {
        if image.platform.os == LINUX && image.platform.architecture == self.wanted.name() {
            return Ok(());
        }
        Err(self.wrong(&[image.platform.to_string()]))
    }

    fn wrong(&self, found: &[String]) -> Error {
        let found = if found.is_empty() { "no machine".to_owned() } else { found.join(", ") };
        Error::WrongPlatform { found, wanted: format!("{LINUX}/{}", self.wanted) }
    }

    fn blob(&self, descriptor: &Descriptor) -> Option<Blob> {
        let (algorithm, sum) = descriptor.digest.split_once(':')?;
        self.files.find(&format!("blobs/{algorithm}/{sum}"))
    }

    /// A document that a descriptor promises.
    fn described<T: DeserializeOwned>(&self, descriptor: &Descriptor, what: &str) -> Result<T, Error> {
        let bytes = self.required(self.blob(descriptor), &descriptor.digest)?;
        if u64::try_from(bytes.len()).ok() != Some(descriptor.size) {
            return Err(Error::BrokenDigest {
                what: what.to_owned(),
                expected: format!("{} of {} bytes", descriptor.digest, descriptor.size),
                found: format!("{} bytes", bytes.len()),
            });
        }
        check_sum(what, &descriptor.digest, &bytes)?;
        parse(&bytes, what)
    }

    fn document<T: DeserializeOwned>(&self, blob: Option<Blob>, what: &str) -> Result<T, Error> {
        parse(&self.required(blob, what)?, what)
    }

    fn required(&self, blob: Option<Blob>, what: &str) -> Result<Vec<u8>, Error> {
        self.small(blob.ok_or_else(|| Error::unreadable(format!("{what} is not in the archive")))?, what)
    }

    fn small(&self, blob: Blob, what: &str) -> Result<Vec<u8>, Error> {
        let limit = self.gauge.limits.manifest.0;
        if blob.len > limit {
            return Err(Error::TooLarge { bound: Bound::Manifest, limit });
        }
        let bytes = self.stores.all(blob)?;
        if u64::try_from(bytes.len()).ok() == Some(blob.len) {
            Ok(bytes)
        } else {
            Err(Error::unreadable(format!("it ends within {what}")))
        }
    }
}

/// Checks a layer's digests after it was read.
pub(crate) fn check_layer(index: usize, layer: &LayerBlob, sums: &crate::layer::Sums) -> Result<(), Error> {
    if let Some(stored) = layer.stored.as_ref().filter(|stored| **stored != sums.stored) {
        return Err(broken(&format!("layer {index}"), stored, &sums.stored));
    }
    if layer.unpacked != sums.unpacked {
        return Err(broken(&format!("layer {index}, unpacked,"), &layer.unpacked, &sums.unpacked));
    }
    Ok(())
}

fn check_sum(what: &str, expected: &str, bytes: &[u8]) -> Result<(), Error> {
    let found = sum_text(&Sha256::digest(bytes));
    if found == expected { Ok(()) } else { Err(broken(what, expected, &found)) }
}

fn broken(what: &str, expected: &str, found: &str) -> Error {
    Error::BrokenDigest { what: what.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::unreadable(format!("{what} is not valid: {error}")))
}

fn several(count: usize) -> Error {
    Error::Unsupported(format!("the archive holds {count} images; save one alone"))
}
