//! What a base has, without contents: enough to say whether a function on it can start, and to keep its links.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::source::{Blob, Store};
use crate::tree::{Body, Meta, Node, Tree};

/// All names of a base, folders before what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outline(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Its mode, owner, group and time.
    meta: (u16, u32, u32, u32),
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    folder: bool,
}

impl Outline {
    /// Of a tree. Debian's names are all UTF-8.
    pub(crate) fn of<'t>(nodes: impl Iterator<Item = (Vec<u8>, &'t Node)>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self(
            nodes
                .map(|(path, node)| Line {
                    meta: (node.meta.mode, node.meta.uid, node.meta.gid, node.meta.mtime),
                    path: text(&path),
                    link: if let Body::Symlink(target) = &node.body { Some(text(target)) } else { None },
                    folder: matches!(node.body, Body::Directory(_)),
                })
                .collect(),
        )
    }

    /// Lays it into a tree, as the layer that is there now.
    pub(crate) fn put_into(&self, tree: &mut Tree<'_>) -> Result<(), Error> {
        for Line { meta: (mode, uid, gid, mtime), path, link, folder } in &self.0 {
            let meta = Meta { mode: *mode, uid: *uid, gid: *gid, mtime: *mtime };
            match link {
                _ if *folder => tree.put_folder(path.as_bytes(), meta)?,
                Some(target) => tree.put(path.as_bytes(), meta, Body::Symlink(target.as_bytes().into()))?,
                None => {
                    let blob = Blob { store: Store::Base, offset: 0, len: 0 };
                    tree.put(path.as_bytes(), meta, Body::File(blob))?;
                }
            }
        }
        Ok(())
    }
}
