//! From an artifact to an image: in the child process that also compiles, with its bounds.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use confine::Folder;
use images::bases::{BaseId, Shelf};
use images::{Architecture, Blame, Error, Image, InputKind, Limits, Options, Stop};
use protocol::{Base, Code, Problem};
use serde::{Deserialize, Serialize};

use super::wasm::{self, Hosted};

/// What to do where nothing can be started.
const STARTS: &str = "Name a program that is there and may be executed, as ENTRYPOINT or CMD of the image or as \
                      `command` at the deploy; a script begins with `#!` and the path of its interpreter.";

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Conversion {
    pub(crate) artifact: PathBuf,
    pub(crate) base: Option<Base>,
    pub(crate) command: Vec<String>,
    /// What runs WebAssembly in a machine; none where this node has no such program.
    pub(crate) runner: Option<PathBuf>,
    /// Where bases are.
    pub(crate) bases: PathBuf,
}

/// What it reads, opened: the child gives up the ways there before it looks at any of it.
pub(crate) struct Inputs {
    artifact: File,
    runner: Option<File>,
    /// None where there are no bases.
    bases: Option<Folder>,
}

impl Inputs {
    pub(crate) fn open(conversion: &Conversion) -> std::io::Result<Self> {
        let artifact = File::open(&conversion.artifact)?;
        let runner = conversion.runner.as_ref().and_then(|path| File::open(path).ok());
        Ok(Self { artifact, runner, bases: Folder::open(&conversion.bases).ok() })
    }

    /// Folders in which more will be opened.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.bases.iter().map(|bases| bases.path().to_owned()).collect()
    }

    /// Whether any user may read the bases.
    pub(crate) fn bases_are_for_all(&self) -> bool {
        let Some(bases) = &self.bases else { return true };
        let may = |path: &Path, bits| fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & bits == bits);
        let is_description = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let Ok(entries) = fs::read_dir(bases.path()) else { return false };
        may(bases.path(), 0o5)
            && entries.flatten().map(|entry| entry.path()).filter(is_description).all(|path| may(&path, 0o4))
    }
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Converted {
    pub(crate) image: Image,
    /// Where it was WebAssembly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hosted: Option<Hosted>,
    pub(crate) convert_ms: u64,
}

impl Conversion {
    /// Does it, into this folder. Blocks.
    pub(crate) fn run(&self, inputs: Inputs, folder: &Path) -> Result<Converted, Problem> {
        let started = Instant::now();
        let Inputs { artifact: mut input, runner, bases } = inputs;
        let mut head = Vec::new();
        (&mut input).take(4).read_to_end(&mut head).map_err(failed)?;
        input.rewind().map_err(failed)?;
        let mut hosted = None;
        let mut command = self.command.clone();
        if wasm::is_wasm(&head) {
            let archive = folder.join("runner.tar");
            hosted = Some(self.pack(input, runner, &archive)?);
            input = File::open(&archive).map_err(failed)?;
            fs::remove_file(&archive).map_err(failed)?;
            command = vec![wasm::RUNNER.to_owned()];
        }
        let shelf = Shelf::new(bases.as_ref().map_or(self.bases.as_path(), Folder::path));
        let options = Options {
            architecture: Architecture::HOST,
            command,
            base: self.base.map(base_id),
            bases: &shelf,
            folder,
            limits: Limits::default(),
            stop: Stop::default(),
        };
        let image = images::convert(input, &options).map_err(|error| problem(&error, &self.command))?;
        let convert_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Converted { image, hosted, convert_ms })
    }

    /// The runner and the code, in an archive of files.
    fn pack(&self, mut artifact: File, runner: Option<File>, archive: &Path) -> Result<Hosted, Problem> {
        if self.base.is_some() || !self.command.is_empty() {
            let detail = "`base` and `command` are for images and scripts; this is WebAssembly";
            let field = if self.base.is_some() { "base" } else { "command" };
            return Err(Problem::of(Code::InvalidField, field, detail));
        }
        let Some(mut runner) = runner else {
            return Err(Problem::new(Code::NodeFailed, "this node's VM lane has no runner for WebAssembly"));
        };
        let (mut wasm, mut program) = (Vec::new(), Vec::new());
        artifact.read_to_end(&mut wasm).map_err(failed)?;
        runner.read_to_end(&mut program).map_err(failed)?;
        wasm::pack(&wasm, &program, archive)
    }
}

fn failed(error: std::io::Error) -> Problem {
    Problem::new(Code::NodeFailed, error.to_string())
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

/// The deployer's faults have codes of their own; the rest is the node's. `command` is what they asked to start.
fn problem(error: &Error, command: &[String]) -> Problem {
    let code = match error {
        _ if error.blame() != Blame::Deployer => Code::NodeFailed,
        Error::TooLarge { .. } => Code::ImageTooLarge,
        // The catalogue's advice is for WebAssembly.
        Error::MissingEntryPoint(_) => {
            let problem = Problem::new(Code::NoEntryPoint, error.to_string()).with_help(STARTS);
            return if command.is_empty() { problem } else { problem.at("command") };
        }
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
        let code = |error: Error| problem(&error, &[]).code;
        assert_eq!(code(Error::Unreadable("x".into())), Code::ImageInvalid);
        assert_eq!(code(Error::PathLeavesRoot("../x".into())), Code::ImageInvalid);
        assert_eq!(code(Error::TooLarge { bound: images::Bound::Bytes, limit: 1 }), Code::ImageTooLarge);
        assert_eq!(code(Error::MissingEntryPoint("x".into())), Code::NoEntryPoint);
        let platform = Error::WrongPlatform { found: "arm64".into(), wanted: "amd64".into() };
        assert_eq!(code(platform), Code::WrongArchitecture);
        assert_eq!(code(Error::Host(std::io::Error::other("disk"))), Code::NodeFailed);
    }

    #[test]
    fn what_cannot_start_is_no_matter_of_webassembly_and_the_command_s_where_there_is_one() {
        let error = Error::MissingEntryPoint("`/x` is not in the image".into());
        let of_image = problem(&error, &[]);
        assert!(!of_image.help.contains("_start") && of_image.help.contains("ENTRYPOINT"), "{}", of_image.help);
        assert_eq!(of_image.field, None);
        let asked = problem(&error, &["/x".to_owned()]);
        assert_eq!(asked.field.unwrap().as_str(), "command");
    }
}
