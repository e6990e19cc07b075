//! The store's master keys, in their folder: exported, brought back, and gone over to newer ones.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use control_plane::{KeyError, KeyFindings, KeyFolder, KeyNumber};
use serde_json::json;

use crate::args::{ExportKeys, ImportKeys, KeyPlace, StoreKey};
use crate::commands::curl::quoted;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::unwritten;

/// Where keys are in a data folder: beside the root secret.
const FOLDER: &str = "store-keys";

/// What a command has done, and what there is to say of it.
#[derive(Debug, Default)]
struct Done {
    keys: Vec<KeyNumber>,
    notes: Vec<String>,
}

/// `store key`
pub(super) fn key(context: &Context, verb: &StoreKey) -> Result<(), Failure> {
    let (StoreKey::Export(ExportKeys { place, .. })
    | StoreKey::Import(ImportKeys { place, .. })
    | StoreKey::Rotate(place)) = verb;
    if let Some(told) = told_unused(place) {
        context.output.note(told);
    }
    let folder = folder(place);
    let done = match verb {
        StoreKey::Export(args) => {
            let done = export(args)?;
            let file = args.output.display();
            context.output.result(&json!({ "file": args.output, "keys": done.keys }), || {
                format!("{file} has {}", names(&done.keys))
            })?;
            done
        }
        StoreKey::Import(args) => {
            let done = import(args)?;
            context.output.result(&json!({ "folder": folder.path(), "keys": done.keys }), || {
                format!("{} has {}", folder.path().display(), names(&done.keys))
            })?;
            done
        }
        StoreKey::Rotate(place) => {
            let number = folder.rotate().map_err(|error| failure(&error))?;
            context.output.result(&json!({ "folder": folder.path(), "key": number }), || {
                format!("{} has the new key {number}", folder.path().display())
            })?;
            let note = format!(
                "the platform goes over to it while it runs, and keeps the old key's file until an export has both: {}. \
                 Other control planes need it, too: crowdcloud store key import",
                export_line(place)
            );
            Done { keys: vec![number], notes: vec![note] }
        }
    };
    for note in done.notes {
        context.output.note(note);
    }
    Ok(())
}

/// What is wrong with the keys in this place.
pub(in crate::commands) fn findings(place: &KeyPlace) -> Result<KeyFindings, Failure> {
    folder(place).look_over().map_err(|error| failure(&error))
}

/// The command that exports the keys of this place.
pub(in crate::commands) fn export_line(place: &KeyPlace) -> String {
    let (flag, folder) = match &place.keys {
        Some(keys) => ("--keys", keys),
        None => ("--data", &place.data),
    };
    let folder = quoted(&folder.to_string_lossy());
    format!("crowdcloud store key export {flag} {folder} -o FILE --passphrase-file FILE")
}

/// That the environment names another folder.
pub(in crate::commands) fn told_unused(place: &KeyPlace) -> Option<String> {
    let unused = place.unused.as_ref()?.display();
    Some(format!(
        "CROWDCLOUD_STORE_KEYS ({unused}) is not used, as --data is given: name that folder by --keys to use it"
    ))
}

fn folder(place: &KeyPlace) -> KeyFolder {
    KeyFolder::at(place.keys.clone().unwrap_or_else(|| place.data.join(FOLDER)))
}

fn export(args: &ExportKeys) -> Result<Done, Failure> {
    let folder = folder(&args.place);
    let mut notes = Vec::new();
    let passphrase = args.passphrase_file.as_deref().map(|file| passphrase(file, &mut notes)).transpose()?;
    let export = folder.export(passphrase.as_deref()).map_err(|error| failure(&error))?;
    write_new(&args.output, |file| file.write_all(export.text.as_bytes()))
        .map_err(|error| unwritten(&args.output.display().to_string(), error))?;
    folder.note(&export).map_err(|error| failure(&error))?;
    for path in findings(&args.place)?.damaged {
        notes.push(format!("{} is no key, and not in the export", path.display()));
    }
    notes.push("keep it somewhere else than data and backups, and its passphrase somewhere else again".to_owned());
    Ok(Done { keys: export.numbers, notes })
}

/// Makes a file that is there after a power cut, too; or none, as a cut one would look like an export.
fn write_new(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Why it failed is what matters.
        drop(std::fs::remove_file(path));
    }
    written
}

fn import(args: &ImportKeys) -> Result<Done, Failure> {
    let text = std::fs::read_to_string(&args.file).map_err(|why| unreadable(&args.file, why))?;
    let mut notes = Vec::new();
    let passphrase = args.passphrase_file.as_deref().map(|file| passphrase(file, &mut notes)).transpose()?;
    let imported = folder(&args.place).import(&text, passphrase.as_deref()).map_err(|error| failure(&error))?;
    if passphrase.is_some() && !imported.is_encrypted {
        notes.push(format!("the passphrase is ignored: {} is not encrypted", args.file.display()));
    }
    Ok(Done { keys: imported.numbers, notes })
}

/// Its first line. That others may read the file is noted.
fn passphrase(file: &Path, notes: &mut Vec<String>) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|why| unreadable(file, why))?;
    // Pipes and terminals have modes, too.
    let exposed = |metadata: std::fs::Metadata| metadata.is_file() && metadata.permissions().mode() & 0o077 != 0;
    if std::fs::metadata(file).is_ok_and(exposed) {
        notes.push(format!("others may open the passphrase: chmod go= {}", quoted(&file.to_string_lossy())));
    }
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
        KeyError::File { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            (Exit::Platform, "run it as the user who owns the data folder")
        }
        KeyError::File { .. } => (Exit::Platform, "check the folder and the disk that it is on"),
        KeyError::Derivation(_) => (Exit::Platform, "64 MiB of memory must be free"),
    };
    Failure::new(exit, "store_key", error.to_string()).help(help)
}

#[cfg(test)]
mod tests {
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

    fn run(line: &str) -> Result<Done, Failure> {
        match parse(line) {
            StoreKey::Export(args) => export(&args),
            StoreKey::Import(args) => import(&args),
            StoreKey::Rotate(place) => {
                let number = folder(&place).rotate().map_err(|error| failure(&error))?;
                Ok(Done { keys: vec![number], ..Done::default() })
            }
        }
    }

    fn unexported(data: &Path) -> String {
        let place = KeyPlace { data: data.to_owned(), keys: None, unused: None };
        names(&findings(&place).unwrap().unexported)
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keys_go_from_one_data_folder_to_another() {
        let (temporary, data) = data();
        let (there, here) = (temporary.path().display(), data.display());
        std::fs::write(temporary.path().join("secret"), "correct horse\n").unwrap();
        assert_eq!(unexported(&data), "key 1");
        let line =
            format!("crowdcloud store key export --data {here} -o {there}/keys --passphrase-file {there}/secret");
        assert_eq!(run(&line).unwrap().keys.len(), 1);
        let mode = std::fs::metadata(temporary.path().join("keys")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(unexported(&data), "");
        assert_eq!(run(&line).unwrap_err().exit(), Exit::Platform, "an export is not written over");
        assert!(temporary.path().join("keys").exists());

        assert_eq!(run(&format!("crowdcloud store key rotate --data {here}")).unwrap().keys[0].to_string(), "2");
        assert_eq!(unexported(&data), "key 2");

        let import = format!("crowdcloud store key import {there}/keys --data {there}/new");
        assert_eq!(run(&import).unwrap_err().exit(), Exit::Usage, "its passphrase is needed");
        let import = format!("{import} --passphrase-file {there}/secret");
        assert_eq!(run(&import).unwrap().keys.len(), 1);
        assert_eq!(std::fs::read(temporary.path().join("new").join(FOLDER).join("1.key")).unwrap(), [7; 32]);
        std::fs::write(data.join(FOLDER).join("1.key"), [8; 32]).unwrap();
        let over =
            format!("crowdcloud store key import {there}/keys --keys {here}/{FOLDER} --passphrase-file {there}/secret");
        assert_eq!(run(&over).unwrap_err().exit(), Exit::Conflict);
    }

    #[test]
    fn a_plain_export_is_asked_for() {
        let (temporary, data) = data();
        let there = temporary.path().display();
        let line = format!("crowdcloud store key export --data {} -o {there}/k", data.display());
        let refused = Cli::try_parse_from(line.split_whitespace()).err().unwrap().to_string();
        assert!(refused.contains("--passphrase-file"), "{refused}");
        assert_eq!(run(&format!("{line} --plain")).unwrap().keys.len(), 1);
        let nothing = format!("crowdcloud store key export --plain -o k --data {there}/x");
        assert_eq!(run(&nothing).unwrap_err().exit(), Exit::NotFound);
        assert_eq!(unexported(&temporary.path().join("x")), "");

        std::fs::write(temporary.path().join("secret"), "correct horse\n").unwrap();
        let import = format!("crowdcloud store key import {there}/k --data {there}/new");
        let is_told = |line: &str| run(line).unwrap().notes.iter().any(|note| note.contains("passphrase is ignored"));
        assert!(is_told(&format!("{import} --passphrase-file {there}/secret")));
        assert!(!is_told(&import));
    }

    #[test]
    fn a_passphrase_that_others_may_read_is_told() {
        let (temporary, data) = data();
        let (there, secret) = (temporary.path().display(), temporary.path().join("secret"));
        std::fs::write(&secret, "correct horse\n").unwrap();
        for (file, mode, expected) in [("one", 0o644, true), ("two", 0o600, false)] {
            chmod(&secret, mode);
            let line = format!("crowdcloud store key export --data {} -o {there}/{file}", data.display());
            let done = run(&format!("{line} --passphrase-file {there}/secret")).unwrap();
            let told = done.notes.iter().any(|note| note.contains("others may open") && note.contains("secret"));
            assert_eq!(told, expected, "{done:?}");
        }
    }

    #[test]
    fn a_file_that_was_not_written_whole_does_not_stay() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("keys");
        let failed = write_new(&path, |file| {
            file.write_all(b"half")?;
            Err(std::io::Error::other("no room"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no room");
        assert!(!path.exists());
        write_new(&path, |file| file.write_all(b"whole")).unwrap();
        assert!(write_new(&path, |_| Ok(())).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"whole", "what was there before stays");
    }

    #[test]
    fn what_is_no_key_is_told_of_an_export() {
        let (temporary, data) = data();
        std::fs::write(data.join(FOLDER).join("2.key"), b"short").unwrap();
        let line = format!("crowdcloud store key export --plain --data {}", data.display());
        let done = run(&format!("{line} -o {}/k", temporary.path().display())).unwrap();
        assert_eq!(names(&done.keys), "key 1");
        assert!(done.notes.iter().any(|note| note.contains("2.key is no key")), "{done:?}");
    }
}
