//! A file system's names and metadata in memory. Layers are laid over each other here, with the meaning that overlay
//! file systems give them; links are followed inside the tree alone, so that nothing can point out of it.

mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::error::{Bound, Error};
use crate::limits::Gauge;
use crate::source::Blob;

pub(crate) use self::resolve::{Found, show};

/// A place in the tree's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(usize);

/// Whom a file belongs to, and what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: u32,
}

impl Meta {
    /// A folder that no archive describes.
    pub(crate) const FOLDER: Self = Self { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    /// A program that we put there.
    pub(crate) const PROGRAM: Self = Self::FOLDER;

    /// A file that we put there.
    pub(crate) const FILE: Self = Self { mode: 0o644, ..Self::FOLDER };

    /// A link that we put there.
    pub(crate) const LINK: Self = Self { mode: 0o777, ..Self::FOLDER };

    pub(crate) fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

pub(crate) type Name = Box<[u8]>;

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Directory(BTreeMap<Name, Link>),
    File(Blob),
    Symlink(Name),
}

/// A name's node, and the layer that said so last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    node: NodeId,
    layer: u32,
}

/// A file, folder or link. Hard links are several names of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) meta: Meta,
    pub(crate) body: Body,
}

/// Whether a folder replaces a link to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FolderOverLink {
    /// As in the layers of images.
    Replaces,
    /// As Debian's packages want it, and archives on a base: `/bin` is a link there.
    Follows,
}

/// The tree.
pub(crate) struct Tree<'a> {
    gauge: &'a Gauge,
    nodes: Vec<Node>,
    layer: u32,
    folder_over_link: FolderOverLink,
}

const ROOT: NodeId = NodeId(0);

impl<'a> Tree<'a> {
    pub(crate) fn new(gauge: &'a Gauge) -> Self {
        let root = Node { meta: Meta::FOLDER, body: Body::Directory(BTreeMap::new()) };
        Self { gauge, nodes: vec![root], layer: 0, folder_over_link: FolderOverLink::Replaces }
    }

    /// What is put from now on lies above all that is there.
    pub(crate) fn next_layer(&mut self, folder_over_link: FolderOverLink) -> u32 {
        self.layer += 1;
        self.folder_over_link = folder_over_link;
        self.layer
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Puts a file or a link, in place of what has its name.
    pub(crate) fn put(&mut self, path: &[u8], meta: Meta, body: Body) -> Result<(), Error> {
        let Some((parent, name)) = self.parent_of(path)? else {
            return Err(Error::unreadable("the root is not a folder"));
        };
        let node = self.add(meta, body, name.len())?;
        self.link(parent, name, node);
        Ok(())
    }

    /// Puts a folder, or describes anew the one that is there.
    pub(crate) fn put_folder(&mut self, path: &[u8], meta: Meta) -> Result<(), Error> {
        let Some((parent, name)) = self.parent_of(path)? else {
            self.nodes[ROOT.0].meta = meta;
            return Ok(());
        };
        let there = self.child(parent, &name);
        let node = match there.map(|link| (link.node, &self.node(link.node).body)) {
            Some((node, Body::Directory(_))) => {
                self.nodes[node.0].meta = meta;
                node
            }
            Some((_, Body::Symlink(_))) if self.folder_over_link == FolderOverLink::Follows && self.is_folder(path) => {
                return Ok(());
            }
            _ => self.add(meta, Body::Directory(BTreeMap::new()), name.len())?,
        };
        self.link(parent, name, node);
        Ok(())
    }

    /// Gives a file that is there another name.
    pub(crate) fn put_hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Error> {
        let found = self.find_itself(target)?;
        let Some(node) = found.filter(|node| !matches!(self.node(*node).body, Body::Directory(_))) else {
            let detail = format!("`{}` is a hard link to `{}`, which is no file", show(path), show(target));
            return Err(Error::unreadable(detail));
        };
        let Some((parent, name)) = self.parent_of(path)? else {
            return Err(Error::unreadable("the root is not a folder"));
        };
        self.gauge.add_entry(name.len())?;
        self.link(parent, name, node);
        Ok(())
    }

    /// Removes what layers below have at a path.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        let Some((parent, name)) = self.existing_parent_of(path)? else { return Ok(()) };
        let Some(link) = self.child(parent, &name) else { return Ok(()) };
        if link.layer < self.layer {
            self.children_mut(parent).and_then(|children| children.remove(&name));
        } else {
            self.empty(link.node);
        }
        Ok(())
    }

    /// Removes what layers below have in a folder.
    pub(crate) fn remove_below(&mut self, path: &[u8]) -> Result<(), Error> {
        if let Some(folder) = self.find_itself(path)? {
            self.empty(folder);
        }
        Ok(())
    }

    /// All names from a layer on, in order: folders before what they hold.
    pub(crate) fn walk(&self, from_layer: u32) -> Walk<'_, 'a> {
        Walk { tree: self, from_layer, open: vec![(Vec::new(), self.children(ROOT))] }
    }

    pub(crate) fn root(&self) -> &Node {
        self.node(ROOT)
    }

    fn add(&mut self, meta: Meta, body: Body, name: usize) -> Result<NodeId, Error> {
        let target = if let Body::Symlink(target) = &body { target.len() } else { 0 };
        self.gauge.add_entry(name + target)?;
        self.nodes.push(Node { meta, body });
        Ok(NodeId(self.nodes.len() - 1))
    }

    fn link(&mut self, parent: NodeId, name: Name, node: NodeId) {
        let layer = self.layer;
        if let Some(children) = self.children_mut(parent) {
            children.insert(name, Link { node, layer });
        }
    }

    /// What this layer has not said itself.
    fn empty(&mut self, folder: NodeId) {
        let layer = self.layer;
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            let Some(children) = self.children_mut(folder) else { continue };
            children.retain(|_, link| link.layer >= layer);
            folders.extend(children.values().map(|link| link.node));
        }
    }

    fn child(&self, folder: NodeId, name: &[u8]) -> Option<Link> {
        match &self.node(folder).body {
            Body::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    fn children(&self, folder: NodeId) -> Children<'_> {
        match &self.node(folder).body {
            Body::Directory(children) => children.iter().rev().map(|(name, link)| (name, *link)).collect(),
            _ => Vec::new(),
        }
    }

    fn children_mut(&mut self, folder: NodeId) -> Option<&mut BTreeMap<Name, Link>> {
        match &mut self.nodes[folder.0].body {
            Body::Directory(children) => Some(children),
            Body::File(_) | Body::Symlink(_) => None,
        }
    }

    fn check_depth(&self, depth: usize) -> Result<(), Error> {
        let limit = self.gauge.limits.depth;
        if depth <= limit {
            return Ok(());
        }
        Err(Error::TooLarge { bound: Bound::Depth, limit: u64::try_from(limit).unwrap_or(u64::MAX) })
    }
}

/// What a folder holds, the last name first.
type Children<'t> = Vec<(&'t Name, Link)>;

/// Goes through a tree, each folder in the order of its names.
pub(crate) struct Walk<'t, 'a> {
    tree: &'t Tree<'a>,
    from_layer: u32,
    /// Folders that are open: their path, and what is left in them, the next one last.
    open: Vec<(Vec<u8>, Children<'t>)>,
}

impl<'t> Iterator for Walk<'t, '_> {
    type Item = (Vec<u8>, &'t Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (folder, left) = self.open.last_mut()?;
            let Some((name, link)) = left.pop() else {
                self.open.pop();
                continue;
            };
            if link.layer < self.from_layer {
                continue;
            }
            let mut path = folder.clone();
            path.push(b'/');
            path.extend_from_slice(name);
            let node = self.tree.node(link.node);
            if matches!(node.body, Body::Directory(_)) {
                self.open.push((path.clone(), self.tree.children(link.node)));
            }
            return Some((path, node));
        }
    }
}
