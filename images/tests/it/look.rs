//! Converts, and looks into what came out with `unsquashfs`, which knows nothing of our writer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use images::bases::{BaseId, Shelf};
use images::{Architecture, Error, Image, Limits, Options, Stop, convert};
use tempfile::TempDir;

/// A folder for results, and how to convert into it.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) bases: Shelf,
    pub(crate) command: Vec<String>,
    pub(crate) architecture: Architecture,
    pub(crate) base: Option<BaseId>,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            bases: Shelf::new(folder.path().join("no-bases")),
            folder,
            command: Vec::new(),
            architecture: Architecture::Amd64,
            base: None,
            limits: Limits::default(),
            stop: Stop::default(),
        }
    }

    pub(crate) fn starting(command: &str) -> Self {
        Self { command: vec![command.to_owned()], ..Self::new() }
    }

    pub(crate) fn options(&self) -> Options<'_> {
        Options {
            architecture: self.architecture,
            command: self.command.clone(),
            base: self.base,
            bases: &self.bases,
            folder: self.folder.path(),
            limits: self.limits.clone(),
            stop: self.stop.clone(),
        }
    }

    pub(crate) fn convert(&self, input: &[u8]) -> Result<Image, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input).unwrap();
        let before = self.files();
        let result = convert(file, &self.options());
        match &result {
            Ok(image) => assert!(self.files().contains(&image.rootfs.path)),
            Err(_) => assert_eq!(self.files(), before, "a failure leaves nothing"),
        }
        result
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    pub(crate) fn image(&self, input: &[u8]) -> Image {
        self.convert(input).unwrap()
    }

    /// Converts, and says what the result holds.
    pub(crate) fn listing(&self, input: &[u8]) -> BTreeMap<String, Seen> {
        list(&self.image(input).rootfs.path)
    }
}

/// A file as `unsquashfs` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// As `ls` writes it.
    pub(crate) mode: String,
    pub(crate) owner: String,
    pub(crate) mtime: String,
    pub(crate) link: Option<String>,
}

/// It knows nothing of our writer.
pub(crate) fn unsquashfs() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let find = || provision::find("unsquashfs").expect("`cargo xtask setup` fetches unsquashfs");
    provision::command(PROGRAM.get_or_init(find))
}

/// All files of an image; the root itself is `/`.
pub(crate) fn list(squashfs: &Path) -> BTreeMap<String, Seen> {
    let mut unsquashfs = unsquashfs();
    let output = unsquashfs.args(["-n", "-lln", "-UTC", "-d", ""]).arg(squashfs).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.len() > 10).map(line).collect()
}

fn line(line: &str) -> (String, Seen) {
    let mut fields = line.split_whitespace();
    let mut next = || fields.next().unwrap().to_owned();
    let (mode, owner, _size, date, time) = (next(), next(), next(), next(), next());
    let rest = line.split_once(&format!("{date} {time} ")).unwrap().1;
    let (path, link) = match rest.split_once(" -> ") {
        Some((path, link)) => (path, Some(link.to_owned())),
        None => (rest, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    (path.to_owned(), Seen { mode, owner, mtime: format!("{date} {time}"), link })
}

/// The contents of one file of an image.
pub(crate) fn cat(squashfs: &Path, path: &str) -> Vec<u8> {
    let output = unsquashfs().args(["-cat"]).arg(squashfs).arg(path).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// BLAKE3 of a file, seen from here.
pub(crate) fn blake3_of(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).unwrap()).unwrap();
    hasher.finalize().to_hex().to_string()
}
