//! The whole way: find out what the input is, build its tree, see that something in it can start, write it down.

use std::fs::File;
use std::path::Path;

use crate::bases::{BaseId, Shelf};
use crate::entry::{self, Wishes};
use crate::error::Error;
use crate::image::{Architecture, Choice, Dropped, Image, InputKind, Report};
use crate::layer::{self, Ground, Rules};
use crate::limits::{Gauge, Limits, Stop};
use crate::oci::{self, Chosen, Files};
use crate::single;
use crate::source::Stores;
use crate::squash;
use crate::tree::{FolderOverLink, Tree};

/// How to convert.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The machine that the image is for.
    pub architecture: Architecture,
    /// What to start, in place of what the image says. An archive of files says nothing itself.
    pub command: Vec<String>,
    /// What it stands on; a single executable or script finds its base itself.
    pub base: Option<BaseId>,
    /// Where bases are.
    pub bases: &'a Shelf,
    /// Where the result goes, and what is unpacked on the way.
    pub folder: &'a Path,
    /// Bounds.
    pub limits: Limits,
    /// Cancels it.
    pub stop: Stop,
}

/// Turns an input into an image. Blocks; leaves nothing behind when it fails.
///
/// # Errors
/// Says what is wrong, and whose fault it is: [`Error::blame`].
pub fn convert(input: File, options: &Options<'_>) -> Result<Image, Error> {
    let gauge = Gauge::new(options.limits.clone(), options.stop.clone());
    let stores = Stores::open(input, options.folder, &gauge)?;
    let head = stores.head(stores.whole())?;
    let wishes = Wishes { architecture: options.architecture, command: &options.command };
    let work = Work { options, gauge: &gauge, stores: &stores, wishes };
    if is_tar(&head) {
        let files = Files::read(&stores, &gauge)?;
        let chosen = oci::Reader::new(&stores, &files, &gauge, options.architecture).choose()?;
        drop(files);
        return match chosen {
            Some(chosen) => work.image(&chosen),
            None => work.files(),
        };
    }
    if stores.was_packed() {
        return Err(Error::Unsupported("what is packed is no tar archive".to_owned()));
    }
    work.single(single::recognise(&head, options.base)?)
}

/// What is known of an input when its tree is built.
struct About {
    kind: InputKind,
    layers: usize,
    dropped: Dropped,
    choice: Option<Choice>,
}

impl About {
    fn new(kind: InputKind, layers: usize, dropped: Dropped) -> Self {
        Self { kind, layers, dropped, choice: None }
    }
}

struct Work<'a> {
    options: &'a Options<'a>,
    gauge: &'a Gauge,
    stores: &'a Stores,
    wishes: Wishes<'a>,
}

impl<'a> Work<'a> {
    fn input(&self) -> Ground<'a> {
        Ground { stores: self.stores, gauge: self.gauge }
    }

    fn image(&self, chosen: &Chosen) -> Result<Image, Error> {
        if self.options.base.is_some() {
            return Err(Error::InvalidConfig("a container image has everything in it, and needs no base".to_owned()));
        }
        let mut tree = Tree::new(self.gauge);
        let mut dropped = Dropped::default();
        for (index, layer) in chosen.layers.iter().enumerate() {
            tree.next_layer(FolderOverLink::Replaces);
            let sums = layer::apply(&mut tree, self.input(), layer.blob, &Rules::LAYER, &mut dropped)?;
            oci::check_layer(index, layer, &sums)?;
        }
        let settings = entry::Settings::of_image(&chosen.config);
        let about = About { choice: chosen.choice.clone(), ..About::new(chosen.kind, chosen.layers.len(), dropped) };
        self.finish(tree, 1, None, settings, about)
    }

    fn files(&self) -> Result<Image, Error> {
        let (mut tree, env) = self.ground(self.options.base)?;
        let from_layer = tree.next_layer(FolderOverLink::Follows);
        let mut dropped = Dropped::default();
        let whole = self.stores.whole();
        layer::apply(&mut tree, self.input(), whole, &Rules::FILES, &mut dropped)?;
        let about = About::new(InputKind::RootFs, 1, dropped);
        let is_image = self.options.base.is_none();
        let settings = entry::Settings::of_command(Vec::new(), &env, is_image);
        self.finish(tree, from_layer, self.options.base, settings, about)
    }

    fn single(&self, single: single::Single) -> Result<Image, Error> {
        let found = single.place(self.stores, self.options.base, self.wishes.architecture)?;
        let (mut tree, env) = self.ground(found.base)?;
        let from_layer = tree.next_layer(FolderOverLink::Follows);
        tree.put(found.path.as_bytes(), crate::tree::Meta::PROGRAM, crate::tree::Body::File(self.stores.whole()))?;
        let settings = entry::Settings::of_command(found.argv, &env, false);
        self.finish(tree, from_layer, found.base, settings, About::new(found.kind, 1, Dropped::default()))
    }

    /// An empty tree, or what the base has, and the environment that it wants.
    fn ground(&self, base: Option<BaseId>) -> Result<(Tree<'a>, Vec<(String, String)>), Error> {
        let mut tree = Tree::new(self.gauge);
        let Some(base) = base else { return Ok((tree, Vec::new())) };
        let base = self.options.bases.open(base, self.options.architecture)?;
        base.outline.put_into(&mut tree)?;
        self.gauge.restart();
        Ok((tree, base.env))
    }

    fn finish(
        &self,
        mut tree: Tree<'_>,
        from_layer: u32,
        base: Option<BaseId>,
        settings: entry::Settings,
        about: About,
    ) -> Result<Image, Error> {
        let config = entry::config(&mut tree, self.stores, settings, &self.wishes)?;
        let squashed = squash::write(&tree, from_layer, self.stores, self.options.folder, self.gauge)?;
        let About { kind, layers, dropped, choice } = about;
        let dropped = Dropped { links: squashed.links, ..dropped };
        let report = Report { kind, layers, entries: squashed.entries, bytes: squashed.bytes, dropped, choice };
        Ok(Image { rootfs: squashed.rootfs, base, config, report })
    }
}

/// Whether it begins as a tar does: by its magic, by an old header's sum, or as an empty one.
fn is_tar(head: &[u8]) -> bool {
    const MAGIC_AT: usize = 257;
    let Ok(block) = <[u8; 512]>::try_from(head) else { return false };
    if block[MAGIC_AT..].starts_with(b"ustar") || block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let header = tar::Header::from_byte_slice(&block);
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
    // The sum's own field counts as spaces.
    header.cksum().is_ok_and(|said| said == sum + 8 * u32::from(b' '))
}
