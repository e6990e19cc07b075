//! The table of contents of an image archive: names and where their bytes are.

use std::collections::HashMap;

use crate::archive::{MemberKind, members};
use crate::error::Error;
use crate::limits::{Gauge, Metered};
use crate::source::{Blob, Store, Stores};

/// Links to links: older dockers write a layer once, and links to it.
const HOPS_MAX: usize = 4;

enum Entry {
    Bytes(Blob),
    Link(String),
}

/// The files of an archive by name.
pub(crate) struct Files(HashMap<String, Entry>);

impl Files {
    /// Reads the archive's headers.
    pub(crate) fn read(stores: &Stores, gauge: &Gauge) -> Result<Self, Error> {
        let mut files = HashMap::new();
        let whole = Metered::new(stores.read(stores.whole()), gauge, None);
        members(whole, gauge, |member, contents| {
            // What has no such name is no part of an image.
            let Ok(name) = String::from_utf8(member.path) else { return Ok(()) };
            let link = || String::from_utf8(member.link).ok();
            let entry = match member.kind {
                MemberKind::File if member.is_sparse => Some(Entry::Bytes(stores.spill().keep(contents, gauge)?)),
                MemberKind::File => {
                    Some(Entry::Bytes(Blob { store: Store::Input, offset: member.offset, len: member.size }))
                }
                MemberKind::Symlink => link().and_then(|link| beside(&name, &link)).map(Entry::Link),
                MemberKind::HardLink => link().as_deref().map(clean).map(Entry::Link),
                _ => None,
            };
            if let Some(entry) = entry {
                let name = clean(&name);
                gauge.add_entry(name.len())?;
                files.insert(name, entry);
            }
            Ok(())
        })?;
        gauge.restart();
        Ok(Self(files))
    }

    /// Where a file's bytes are.
    pub(crate) fn find(&self, name: &str) -> Option<Blob> {
        let mut name = clean(name);
        for _ in 0..HOPS_MAX {
            match self.0.get(&name)? {
                Entry::Bytes(blob) => return Some(*blob),
                Entry::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

fn clean(name: &str) -> String {
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

/// The name that a link's target has, seen from the link; none outside the archive.
fn beside(name: &str, target: &str) -> Option<String> {
    let name = clean(name);
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_archive_alone() {
        assert_eq!(beside("a/layer.tar", "../b/layer.tar"), Some("b/layer.tar".to_owned()));
        assert_eq!(beside("./a/b", "./c"), Some("a/c".to_owned()));
        assert_eq!(beside("a/b", "../../c"), None);
        assert_eq!(clean("./a//b/."), "a/b");
    }
}
