//! From an artifact to an image: in the child process that also compiles, with its bounds.

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use images::bases::{BaseId, Shelf};
use images::{Architecture, Blame, Error, Image, InputKind, Limits, Options, Stop};
use protocol::{Base, Code, Problem};
use serde::{Deserialize, Serialize};

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Conversion {
    pub(crate) artifact: PathBuf,
    pub(crate) base: Option<Base>,
    pub(crate) command: Vec<String>,
    /// Where bases are.
    pub(crate) bases: PathBuf,
    /// Where the image goes.
    pub(crate) folder: PathBuf,
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Converted {
    pub(crate) image: Image,
    pub(crate) convert_ms: u64,
}

impl Conversion {
    /// Does it. Blocks.
    pub(crate) fn run(&self) -> Result<Converted, Problem> {
        let started = Instant::now();
        let failed = |error: std::io::Error| Problem::new(Code::NodeFailed, error.to_string());
        let input = File::open(&self.artifact).map_err(failed)?;
        let shelf = Shelf::new(&self.bases);
        let options = Options {
            architecture: Architecture::HOST,
            command: self.command.clone(),
            base: self.base.map(base_id),
            bases: &shelf,
            folder: &self.folder,
            limits: Limits::default(),
            stop: Stop::default(),
        };
        let image = images::convert(input, &options).map_err(|error| problem(&error))?;
        let convert_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Converted { image, convert_ms })
    }
}

pub(super) fn base_id(base: Base) -> BaseId {
    match base {
        Base::Python => BaseId::Python,
        Base::Shell => BaseId::Shell,
    }
}

/// What it was, for people.
pub(super) fn describe(image: &Image) -> String {
    let what = match image.report.kind {
        InputKind::OciArchive => "OCI image",
        InputKind::DockerArchive => "Docker image",
        InputKind::RootFs => "files",
        InputKind::Executable => "executable",
        InputKind::Script => "script",
    };
    match image.base {
        Some(base) => format!("{what} on {base}"),
        None => what.to_owned(),
    }
}

/// The deployer's faults have codes of their own; the rest is the node's.
fn problem(error: &Error) -> Problem {
    let code = match error {
        _ if error.blame() != Blame::Deployer => Code::NodeFailed,
        Error::TooLarge { .. } => Code::ImageTooLarge,
        Error::MissingEntryPoint(_) => Code::NoEntryPoint,
        Error::WrongPlatform { .. } => Code::WrongArchitecture,
        _ => Code::ImageInvalid,
    };
    Problem::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_code() {
        let code = |error: Error| problem(&error).code;
        assert_eq!(code(Error::Unreadable("x".into())), Code::ImageInvalid);
        assert_eq!(code(Error::PathLeavesRoot("../x".into())), Code::ImageInvalid);
        assert_eq!(code(Error::TooLarge { bound: images::Bound::Bytes, limit: 1 }), Code::ImageTooLarge);
        assert_eq!(code(Error::MissingEntryPoint("x".into())), Code::NoEntryPoint);
        let platform = Error::WrongPlatform { found: "arm64".into(), wanted: "amd64".into() };
        assert_eq!(code(platform), Code::WrongArchitecture);
        assert_eq!(code(Error::Host(std::io::Error::other("disk"))), Code::NodeFailed);
    }
}
