//! What comes out: a root file system, what to start in it, and what was done.

use std::path::PathBuf;

use protocol::{ByteSize, Digest};
use serde::{Deserialize, Serialize};

use crate::bases::BaseId;

/// A machine that images are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Architecture {
    /// This machine's.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// As OCI and Debian write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The folder of Debian's libraries.
    pub(crate) fn multiarch(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the input was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// An OCI layout in a tar, as skopeo, podman and newer dockers write it.
    OciArchive,
    /// A `manifest.json` and layers in a tar.
    DockerArchive,
    /// The files themselves in a tar.
    RootFs,
    /// One ELF executable.
    Executable,
    /// One script.
    Script,
}

/// A squashfs image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Where it is. Its name is its digest.
    pub path: PathBuf,
    /// Its size.
    pub size: ByteSize,
    /// BLAKE3 of the file.
    pub digest: Digest,
}

/// Who runs it, in numbers: the guest looks no names up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl User {
    /// Whom our bases know as `function`: who runs what is no image of its own.
    pub const FUNCTION: Self = Self { uid: 1000, gid: 1000 };
}

/// A user with all that comes with one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User and group.
    pub user: User,
    /// Its other groups.
    pub groups: Vec<u32>,
    /// Its home folder.
    pub home: String,
}

/// What to start in a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// What `entrypoint` and `cmd` start: found along `PATH`, absolute, executable.
    pub program: String,
    /// The fixed part of the command.
    pub entrypoint: Vec<String>,
    /// The part that a caller may replace.
    pub cmd: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// An absolute folder; it exists.
    pub working_dir: String,
    /// Who runs it: whom the image names, or else root, as everywhere. What is no image is run by
    /// [`User::FUNCTION`].
    pub identity: Identity,
    /// TCP ports that it says it listens on.
    pub exposed_ports: Vec<u16>,
    /// What it runs on.
    pub architecture: Architecture,
}

impl ImageConfig {
    /// All arguments, the first of them the program as it was named.
    pub fn argv(&self) -> impl Iterator<Item = &str> {
        self.entrypoint.iter().chain(&self.cmd).map(String::as_str)
    }
}

/// What was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Device nodes: the guest's kernel makes its own.
    pub devices: u64,
    /// FIFOs and sockets: whoever uses them makes them.
    pub pipes: u64,
    /// Extended attributes, file capabilities among them: the guest grants no privileges.
    pub attributes: u64,
    /// Names of a file that has others: each became a file of its own.
    pub links: u64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What the input was.
    pub kind: InputKind,
    /// Layers that were flattened.
    pub layers: usize,
    /// Files, folders and links in the result.
    pub entries: u64,
    /// Bytes of all files in the result, uncompressed.
    pub bytes: ByteSize,
    /// What was left out.
    pub dropped: Dropped,
    /// Where the input had several images: which was chosen, and of which.
    pub choice: Option<Choice>,
}

/// A choice between images for several machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What was chosen, as `os/architecture/variant`.
    pub platform: String,
    /// What there was.
    pub of: Vec<String>,
}

impl Report {
    /// What the deployer should know, in sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(Choice { platform, of }) = &self.choice {
            notes.push(format!("The archive holds {}: {platform} was chosen.", of.join(", ")));
        }
        let Dropped { devices, pipes, attributes, links } = self.dropped;
        let mut note = |count: u64, one: &str, many: &str| match count {
            0 => {}
            1 => notes.push(format!("1 {one}")),
            _ => notes.push(format!("{count} {many}")),
        };
        note(
            devices,
            "device file was left out: a machine has its own /dev.",
            "device files were left out: a machine has its own /dev.",
        );
        note(
            pipes,
            "named pipe was left out: a program can make it when it starts.",
            "named pipes were left out: a program can make them when it starts.",
        );
        note(
            attributes,
            "extended attribute was left out; a file capability grants nothing here.",
            "extended attributes were left out; file capabilities grant nothing here.",
        );
        note(
            links,
            "hard link became a file of its own: to change one is not to change the other.",
            "hard links became files of their own: to change one is not to change the others.",
        );
        notes
    }
}

/// An image, ready for a microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The files. Where there is a base, only those above it: both are mounted as lower folders of one overlay.
    pub rootfs: RootFs,
    /// What it stands on.
    pub base: Option<BaseId>,
    /// What to start.
    pub config: ImageConfig,
    /// What was done.
    pub report: Report,
}
