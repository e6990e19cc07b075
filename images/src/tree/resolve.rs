//! From a path to a node: links are followed as a process would inside this root, and never out of it.

use super::{Body, FolderOverLink, Meta, Name, Node, NodeId, ROOT, Tree};
use crate::error::{Bound, Error};

/// As many links as Linux follows.
const HOPS_MAX: usize = 40;

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<'t> {
    /// Where it is, links followed.
    pub(crate) path: Vec<u8>,
    pub(crate) node: &'t Node,
}

/// The folders of a name, and its last part.
type Split = (Vec<Vec<u8>>, Vec<u8>);

/// Parts of a path still to go, the next one last.
struct Way {
    parts: Vec<Vec<u8>>,
    hops: usize,
}

impl Way {
    fn new(parts: impl DoubleEndedIterator<Item = Vec<u8>>) -> Self {
        Self { parts: parts.rev().collect(), hops: 0 }
    }

    /// Goes on at a link's target; says whether that starts at the root.
    fn follow(&mut self, target: &[u8]) -> Result<bool, Error> {
        self.hops += 1;
        if self.hops > HOPS_MAX {
            return Err(Error::unreadable("symbolic links lead in a circle"));
        }
        let parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        self.parts.extend(parts.rev().map(<[u8]>::to_vec));
        Ok(target.starts_with(b"/"))
    }
}

impl<'a> Tree<'a> {
    /// What a process in this root would find there. None also where a link leads nowhere.
    pub(crate) fn find(&self, path: &[u8]) -> Option<Found<'_>> {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        let way = Way::new(parts.map(<[u8]>::to_vec));
        let stack = self.go(way).ok()??;
        let path = stack.iter().flat_map(|(name, _)| [b"/", name.as_ref()]).flatten().copied().collect();
        Some(Found { path, node: self.node(top(&stack)) })
    }

    pub(super) fn is_folder(&self, path: &[u8]) -> bool {
        self.find(path).is_some_and(|found| matches!(found.node.body, Body::Directory(_)))
    }

    /// What has this name in an archive: only links on the way are followed.
    pub(super) fn find_itself(&self, path: &[u8]) -> Result<Option<NodeId>, Error> {
        match self.split(path)? {
            None => Ok(Some(ROOT)),
            Some((parents, name)) => {
                let Some(stack) = self.go(Way::new(parents.into_iter()))? else { return Ok(None) };
                Ok(self.child(top(&stack), &name).map(|link| link.node))
            }
        }
    }

    /// The folder that a name of an archive is in, where it exists. None is the root, too.
    pub(super) fn existing_parent_of(&self, path: &[u8]) -> Result<Option<(NodeId, Name)>, Error> {
        let Some((parents, name)) = self.split(path)? else { return Ok(None) };
        let stack = self.go(Way::new(parents.into_iter()))?;
        Ok(stack.map(|stack| (top(&stack), name.into())))
    }

    /// The folder that a name of an archive is in; made where it is missing. None for the root itself.
    pub(super) fn parent_of(&mut self, path: &[u8]) -> Result<Option<(NodeId, Name)>, Error> {
        let Some((parents, name)) = self.split(path)? else { return Ok(None) };
        let mut way = Way::new(parents.into_iter());
        let mut stack: Vec<NodeId> = vec![ROOT];
        while let Some(part) = way.parts.pop() {
            if part == b".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let folder = stack.last().copied().unwrap_or(ROOT);
            let node = match self.child(folder, &part) {
                Some(link) => match &self.node(link.node).body {
                    Body::Directory(_) => link.node,
                    Body::Symlink(target) => {
                        if way.follow(target)? {
                            stack.truncate(1);
                        }
                        continue;
                    }
                    // A folder of this layer hides a file of one below.
                    Body::File(_) if link.layer < self.layer => self.make_folder(&part)?,
                    Body::File(_) => {
                        let detail = format!("`{}` lies in `{}`, which is a file", show(path), show(&part));
                        return Err(Error::unreadable(detail));
                    }
                },
                None => self.make_folder(&part)?,
            };
            self.link(folder, part.into(), node);
            stack.push(node);
            self.check_depth(stack.len())?;
        }
        Ok(Some((stack.last().copied().unwrap_or(ROOT), name.into())))
    }

    /// A folder that must be there, links followed.
    pub(crate) fn ensure_folder(&mut self, path: &[u8]) -> Result<(), Error> {
        if self.is_folder(path) {
            return Ok(());
        }
        self.folder_over_link = FolderOverLink::Follows;
        self.put_folder(path, Meta::FOLDER)
    }

    fn make_folder(&mut self, name: &[u8]) -> Result<NodeId, Error> {
        self.add(Meta::FOLDER, Body::Directory(std::collections::BTreeMap::new()), name.len())
    }

    /// Follows a way as far as it goes.
    fn go(&self, mut way: Way) -> Result<Option<Vec<(Name, NodeId)>>, Error> {
        let mut stack: Vec<(Name, NodeId)> = Vec::new();
        while let Some(part) = way.parts.pop() {
            if part == b".." {
                stack.pop();
                continue;
            }
            let Some(link) = self.child(top(&stack), &part) else { return Ok(None) };
            if let Body::Symlink(target) = &self.node(link.node).body {
                if way.follow(target)? {
                    stack.clear();
                }
            } else {
                stack.push((part.into(), link.node));
            }
        }
        Ok(Some(stack))
    }

    /// The parts of a name of an archive; a `..` in it is refused. None is the root.
    fn split(&self, path: &[u8]) -> Result<Option<Split>, Error> {
        let limit = self.gauge.limits.path;
        let part_too_long = |part: &Vec<u8>| part.len() > NAME_BYTES_MAX;
        if path.len() > limit {
            return Err(Error::TooLarge { bound: Bound::Path, limit: u64::try_from(limit).unwrap_or(u64::MAX) });
        }
        if path.contains(&0) {
            return Err(Error::unreadable("a name has a zero byte in it"));
        }
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        let mut parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
        if parts.iter().any(|part| part == b"..") {
            return Err(Error::PathLeavesRoot(show(path)));
        }
        if parts.iter().any(part_too_long) {
            return Err(Error::TooLarge { bound: Bound::Path, limit: 255 });
        }
        self.check_depth(parts.len())?;
        Ok(parts.pop().map(|name| (parts, name)))
    }
}

const NAME_BYTES_MAX: usize = 255;

fn top(stack: &[(Name, NodeId)]) -> NodeId {
    stack.last().map_or(ROOT, |(_, node)| *node)
}

/// A name for people.
pub(crate) fn show(path: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    String::from_utf8_lossy(&path[..path.len().min(SHOWN_MAX)]).into_owned()
}
