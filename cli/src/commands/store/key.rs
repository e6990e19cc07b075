//! The store's master keys, in their folder: exported, brought back, and gone over to newer ones.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use control_plane::{KeyError, KeyFolder, KeyNumber};
use serde_json::json;

use crate::args::{ExportKeys, ImportKeys, KeyPlace, StoreKey};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::unwritten;

/// Where keys are in a data folder: beside the root secret.
const FOLDER: &str = "store-keys";

/// `store key`
pub(super) fn key(context: &Context, verb: &StoreKey) -> Result<(), Failure> {
    match verb {
        StoreKey::Export(args) => {
            let numbers = export(args)?;
            let file = args.output.display();
            context.output.result(&json!({ "file": args.output, "keys": numbers }), || {
                format!("{file} has {}", names(&numbers))
            })?;
            context
                .output
                .note("keep it somewhere else than data and backups, and its passphrase somewhere else again");
        }
        StoreKey::Import(args) => {
            let numbers = import(args)?;
            let folder = folder(&args.place);
            context.output.result(&json!({ "folder": folder.path(), "keys": numbers }), || {
                format!("{} has {}", folder.path().display(), names(&numbers))
            })?;
        }
        StoreKey::Rotate(place) => {
            let folder = folder(place);
            let number = folder.rotate().map_err(|error| failure(&error))?;
            context.output.result(&json!({ "folder": folder.path(), "key": number }), || {
                format!("{} has the new key {number}", folder.path().display())
            })?;
            context.output.note(
                "the platform goes over to it while it runs; export it now: crowdcloud store key export. Other control \
                 planes need it, too: crowdcloud store key import",
            );
        }
    }
    Ok(())
}

/// The newest key of this data folder, where no export has it; none where there is no key either.
pub(in crate::commands) fn unexported(data: &Path) -> Option<Result<KeyNumber, Failure>> {
    let folder = KeyFolder::at(data.join(FOLDER));
    folder.unexported().map_err(|error| failure(&error)).transpose()
}

fn folder(place: &KeyPlace) -> KeyFolder {
    KeyFolder::at(place.keys.clone().unwrap_or_else(|| place.data.join(FOLDER)))
}

fn export(args: &ExportKeys) -> Result<Vec<KeyNumber>, Failure> {
    let folder = folder(&args.place);
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let export = folder.export(passphrase.as_deref()).map_err(|error| failure(&error))?;
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&args.output)?;
        file.write_all(export.text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| unwritten(&args.output.display().to_string(), error))?;
    folder.note(&export).map_err(|error| failure(&error))?;
    Ok(export.numbers)
}

fn import(args: &ImportKeys) -> Result<Vec<KeyNumber>, Failure> {
    let text = std::fs::read_to_string(&args.file).map_err(|why| unreadable(&args.file, why))?;
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    folder(&args.place).import(&text, passphrase.as_deref()).map_err(|error| failure(&error))
}

/// Its first line.
fn passphrase(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|why| unreadable(file, why))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn unreadable(file: &Path, why: std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be read", file.display())).why(why)
}

fn names(numbers: &[KeyNumber]) -> String {
    let names: Vec<String> = numbers.iter().map(|number| format!("key {number}")).collect();
    names.join(", ")
}

fn failure(error: &KeyError) -> Failure {
    let (exit, help) = match error {
        KeyError::NoKey(_) => (
            Exit::NotFound,
            "name the platform's data folder by --data, or its folder of keys by --keys; the platform makes the first \
             key when it starts",
        ),
        KeyError::Differs { .. } => (
            Exit::Conflict,
            "the folder is another platform's, or that of a start without its database: move it away, and import again",
        ),
        KeyError::Encrypted => (Exit::Usage, "add --passphrase-file FILE"),
        KeyError::Passphrase => (Exit::Authentication, "check the file of the passphrase, and try another copy"),
        KeyError::EmptyPassphrase => (Exit::Usage, "write a long passphrase into the first line of its file"),
        KeyError::NotAnExport(_) => (Exit::Usage, "name a file that `crowdcloud store key export` has written"),
        KeyError::NotAKey(_) => (Exit::Platform, "move the file away, and bring the key back by `store key import`"),
        KeyError::File { .. } | KeyError::Derivation(_) => {
            (Exit::Platform, "run it as the user who owns the data folder")
        }
    };
    Failure::new(exit, "store_key", error.to_string()).help(help)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, StoreVerb};

    fn parse(line: &str) -> StoreKey {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Store { verb: StoreVerb::Key { verb } } => verb,
            other => panic!("{other:?}"),
        }
    }

    /// A data folder as a platform has it after its first start.
    fn data() -> (tempfile::TempDir, PathBuf) {
        let temporary = tempfile::tempdir().unwrap();
        let data = temporary.path().join("data");
        std::fs::create_dir_all(data.join(FOLDER)).unwrap();
        std::fs::write(data.join(FOLDER).join("1.key"), [7; 32]).unwrap();
        (temporary, data)
    }

    fn run(line: &str) -> Result<Vec<KeyNumber>, Failure> {
        match parse(line) {
            StoreKey::Export(args) => export(&args),
            StoreKey::Import(args) => import(&args),
            StoreKey::Rotate(place) => {
                folder(&place).rotate().map(|number| vec![number]).map_err(|error| failure(&error))
            }
        }
    }

    #[test]
    fn keys_go_from_one_data_folder_to_another() {
        let (temporary, data) = data();
        let (there, here) = (temporary.path().display(), data.display());
        std::fs::write(temporary.path().join("secret"), "correct horse\n").unwrap();
        assert!(unexported(&data).unwrap().is_ok());
        let line =
            format!("crowdcloud store key export --data {here} -o {there}/keys --passphrase-file {there}/secret");
        assert_eq!(run(&line).unwrap().len(), 1);
        let mode = std::fs::metadata(temporary.path().join("keys")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(unexported(&data).is_none());
        assert_eq!(run(&line).unwrap_err().exit(), Exit::Platform, "an export is not written over");

        assert_eq!(run(&format!("crowdcloud store key rotate --data {here}")).unwrap()[0].to_string(), "2");
        assert_eq!(unexported(&data).unwrap().unwrap().to_string(), "2");

        let import = format!("crowdcloud store key import {there}/keys --data {there}/new");
        assert_eq!(run(&import).unwrap_err().exit(), Exit::Usage, "its passphrase is needed");
        let import = format!("{import} --passphrase-file {there}/secret");
        assert_eq!(run(&import).unwrap().len(), 1);
        assert_eq!(std::fs::read(temporary.path().join("new").join(FOLDER).join("1.key")).unwrap(), [7; 32]);
        std::fs::write(data.join(FOLDER).join("1.key"), [8; 32]).unwrap();
        let over =
            format!("crowdcloud store key import {there}/keys --keys {here}/{FOLDER} --passphrase-file {there}/secret");
        assert_eq!(run(&over).unwrap_err().exit(), Exit::Conflict);
    }

    #[test]
    fn a_plain_export_is_asked_for() {
        let (temporary, data) = data();
        let line = format!("crowdcloud store key export --data {} -o {}/k", data.display(), temporary.path().display());
        let refused = Cli::try_parse_from(line.split_whitespace()).err().unwrap().to_string();
        assert!(refused.contains("--passphrase-file"), "{refused}");
        assert_eq!(run(&format!("{line} --plain")).unwrap().len(), 1);
        let nothing = format!("crowdcloud store key export --plain -o k --data {}/x", temporary.path().display());
        assert_eq!(run(&nothing).unwrap_err().exit(), Exit::NotFound);
        assert!(unexported(&temporary.path().join("x")).is_none());
    }
}
