//! `up --replicas`: copies of each blob, on the folders of as many executors. One copy is in one folder, which all share.
//!
//! The folder of the first executor is the one that a single copy is in: whoever asks for more copies later finds what there
//! was.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use protocol::words::count;

use super::parts::Settings;
use crate::failure::{Exit, Failure};

/// Copies that make other copies.
const SOME: u16 = 2;

/// Where blobs are, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Kept {
    copies: u16,
    folders: u16,
    /// Devices that these folders are on.
    disks: usize,
}

/// Whether the executors have the blobs.
pub(crate) fn on_executors(settings: &Settings) -> bool {
    settings.args.replicas >= SOME
}

/// Where an executor has blobs.
fn folder(settings: &Settings, number: u16) -> PathBuf {
    match number {
        1 => settings.data.join("store"),
        number => settings.data.node_folder(number).join("store"),
    }
}

/// Refuses what cannot be: more copies than executors; fewer folders than those that have blobs.
pub(crate) fn check(settings: &Settings) -> Result<(), Failure> {
    let (replicas, executors) = (settings.args.replicas, settings.args.executors);
    if on_executors(settings) && executors < replicas {
        let what = format!("{replicas} copies need {replicas} executors; there {}", there_are(executors));
        return Err(Failure::new(Exit::Usage, "replicas", what)
            .help(format!("crowdcloud up --replicas {replicas} --executors {}", replicas + 1)));
    }
    let served = if on_executors(settings) { executors } else { 1 };
    let keeps = |number: &u16| has_segments(&folder(settings, *number).join("blobs"));
    match (served + 1..=super::EXECUTORS_MAX).filter(keeps).max() {
        None => Ok(()),
        Some(last) => {
            let why = format!(
                "it ran with --replicas; executor {last} keeps some of them. `crowdcloud store drain` moves off what a folder \
                 has, where the others are as many as there are copies; `crowdcloud store copies` says how many these are"
            );
            Err(Failure::new(Exit::Conflict, "replicas", "The blobs of this folder are on more executors")
                .why(why)
                .help(format!("crowdcloud up --replicas {} --executors {last}", replicas.max(SOME))))
        }
    }
}

/// Whether there is a segment, in any of the folders here.
fn has_segments(blobs: &Path) -> bool {
    let shards = std::fs::read_dir(blobs).into_iter().flatten().flatten();
    shards.filter_map(|shard| std::fs::read_dir(shard.path()).ok()).any(|mut files| files.next().is_some())
}

fn there_are(executors: u16) -> String {
    if executors == 1 { "is 1".to_owned() } else { format!("are {executors}") }
}

/// The flags of a process of the core.
pub(crate) fn of_core(settings: &Settings) -> Vec<OsString> {
    if on_executors(settings) {
        return vec!["--store-nodes".into(), "--store-copies".into(), settings.args.replicas.to_string().into()];
    }
    vec!["--store-dir".into(), settings.data.join("store").into()]
}

/// An executor's flags and their values. Each executor counts as a disk of its own, behind the machine and the device that it
/// shares with others.
pub(crate) fn of_executor(settings: &Settings, number: u16) -> Vec<(&'static str, OsString)> {
    if !on_executors(settings) {
        return Vec::new();
    }
    let folder = folder(settings, number);
    // One that was removed is an empty disk: it is no place where another one would be mounted.
    vec![
        ("store-dir", folder.clone().into()),
        ("store-domain", format!("/local-{number}").into()),
        ("store-dir-new", folder.into()),
    ]
}

/// Where blobs are, once all runs; none where there is one copy.
pub(crate) fn kept(settings: &Settings) -> Option<Kept> {
    on_executors(settings).then(|| {
        let (copies, folders) = (settings.args.replicas, settings.args.executors);
        let devices = (1..=folders).filter_map(|number| Some(std::fs::metadata(folder(settings, number)).ok()?.dev()));
        Kept { copies, folders, disks: devices.collect::<BTreeSet<_>>().len() }
    })
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { copies, folders, disks } = *self;
        let disks_said = count(disks, "disk");
        write!(f, "{copies} copies, {disks_said}: each blob is on {copies} of {folders} executors")?;
        if disks < usize::from(copies) {
            f.write_str("; the loss of an executor's folder loses nothing, that of a disk may")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn settings(data: &std::path::Path, flags: &str) -> Settings {
        let line = format!("crowdcloud up --data {} {flags}", data.display());
        let command = crate::args::Cli::try_parse_from(line.split_whitespace()).unwrap().command;
        let crate::args::Command::Up(up) = command else { panic!("it is up") };
        Settings::read(&up, None).unwrap()
    }

    #[test]
    fn copies_are_on_as_many_executors() {
        let folder = tempfile::tempdir().unwrap();
        let one = settings(folder.path(), "");
        assert!(check(&one).is_ok() && !one.args.is_separate());
        assert_eq!(of_core(&one)[0], "--store-dir");
        assert!(of_executor(&one, 1).is_empty() && kept(&one).is_none());
        drop(one);

        let two = settings(folder.path(), "--replicas 2 --executors 3");
        assert!(check(&two).is_ok() && two.args.is_separate());
        assert_eq!(of_core(&two), ["--store-nodes", "--store-copies", "2"]);
        assert_eq!(of_executor(&two, 3)[1], ("store-domain", "/local-3".into()), "behind machine and device");
        let folders = [1, 2, 3].map(|number| of_executor(&two, number).remove(0).1);
        assert_eq!(PathBuf::from(&folders[0]), two.data.join("store"), "what one copy was in");
        for folder in &folders {
            std::fs::create_dir_all(folder).unwrap();
        }
        let kept = kept(&two).unwrap();
        assert_eq!(kept, Kept { copies: 2, folders: 3, disks: 1 });
        assert!(kept.to_string().starts_with("2 copies, 1 disk: "), "{kept}");
        let shards = [1, 2].map(|at| PathBuf::from(&folders[at]).join("blobs/00"));
        shards.iter().for_each(|shard| std::fs::create_dir_all(shard).unwrap());
        drop(two);
        let check_with = |flags: &str| check(&settings(folder.path(), flags));
        assert!(check_with("").is_ok() && check_with("--replicas 2 --executors 2").is_ok(), "no segment is there");
        std::fs::write(shards[1].join("a segment"), "").unwrap();
        let refused = check_with("--replicas 2 --executors 2").unwrap_err();
        assert_eq!(refused.exit(), Exit::Conflict, "fewer executors than have blobs");
        assert!(check_with("--replicas 2 --executors 3").is_ok());

        // One copy would be in one of these folders alone.
        let refused = check(&settings(folder.path(), "")).unwrap_err();
        assert_eq!(refused.exit(), Exit::Conflict);
        let refused = check(&settings(folder.path(), "--replicas 3 --executors 2")).unwrap_err();
        assert_eq!(refused.exit(), Exit::Usage);
        assert!(refused.what().contains("3 copies need 3 executors; there are 2"), "{}", refused.what());
    }
}
