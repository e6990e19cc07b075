//! Packages that were unpacked and not installed. A program in such a tree needs to be told where its libraries are; the
//! C library is the system's, because the loader that starts the program is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside the tree, what is in it.
pub(crate) const LIST: &str = "packages.txt";
pub(crate) const FOLDER: &str = "tree";

/// A tree of unpacked packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree that a program is in; none for a program of the system.
    #[must_use]
    pub fn of(program: &Path) -> Option<Self> {
        let is_tree =
            |folder: &&Path| folder.ends_with(FOLDER) && folder.parent().is_some_and(|it| it.join(LIST).is_file());
        program.ancestors().find(is_tree).map(|root| Self { root: root.to_owned() })
    }

    /// The tree in this folder, whatever stands beside it.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `LD_LIBRARY_PATH` for a program of the tree, for whom the tree is at this place.
    #[must_use]
    pub fn libraries(seen_at: &Path) -> OsString {
        let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let folders = ["usr/lib", "lib"].map(|folder| seen_at.join(folder).join(&multiarch));
        std::env::join_paths(folders).unwrap_or_default()
    }

    /// A command for a program of the tree.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", Self::libraries(&self.root));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_a_tree_is_told_from_one_of_the_system() {
        let folder = std::env::temp_dir().join(format!("crowdcloud-tree-{}", std::process::id()));
        let program = folder.join("tree/usr/bin/x");
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(Tree::of(&program), None);
        std::fs::write(folder.join(LIST), "x 1\n").unwrap();
        assert_eq!(Tree::of(&program).unwrap().root(), folder.join("tree"));
        assert_eq!(Tree::of(Path::new("/usr/bin/x")), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
