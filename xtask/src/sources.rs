//! The times of the sources in a fresh clone. To cargo every file of a clone is new, so that it builds all our crates
//! again though the target folder has them already. What has not changed since that folder was last built from gets
//! its time of then back, where the clone is in the same place: programs may have its path in them. Only for target
//! folders that nothing else builds into: `.ci/run` asks for it.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::steps::{quiet, say};
use crate::workspace::Workspace;

/// In the target folder: what it was built from: the clone's path, then a line each file.
const RECORD: &str = "built-from";

/// A file by its content as git names it, and its path.
type Key = (String, String);

/// Gives back the times of what has not changed, and records all for the next clone. Does nothing where the clone has
/// changes of its own: git then names other contents than the files have.
pub(crate) fn keep_times(workspace: &Workspace) -> anyhow::Result<()> {
    let git = |arguments: &[&str]| quiet(Command::new("git").current_dir(&workspace.root).args(arguments));
    if !git(&["status", "--porcelain"])?.trim().is_empty() {
        say("the clone has changes of its own: everything is built again");
        return Ok(());
    }
    let record = workspace.target.join(RECORD);
    let earlier = parse(&workspace.root, &std::fs::read_to_string(&record).unwrap_or_default());
    let mut lines = format!("{}\n", workspace.root.display());
    let mut kept = 0_usize;
    for key in contents(&git(&["ls-files", "--stage"])?) {
        let path = workspace.root.join(&key.1);
        if !path.is_file() {
            continue;
        }
        if let Some(time) = earlier.get(&key) {
            set(&path, *time)?;
            kept += 1;
        }
        let time = std::fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        lines.push_str(&format!("{} {} {}\n", key.0, time.as_nanos(), key.1));
    }
    std::fs::create_dir_all(&workspace.target)?;
    // Before anything is built from them: a run that is broken off leaves no younger file unrecorded.
    std::fs::write(&record, lines).with_context(|| format!("{} cannot be written", record.display()))?;
    say(&format!("{kept} files are as they were when the target folder was last built from"));
    Ok(())
}

fn set(path: &Path, time: Duration) -> anyhow::Result<()> {
    let file =
        File::options().append(true).open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(file.set_modified(SystemTime::UNIX_EPOCH + time)?)
}

/// `MODE CONTENT STAGE\tPATH`, as `git ls-files --stage` has it.
fn contents(listed: &str) -> Vec<Key> {
    let lines = listed.lines().filter_map(|line| {
        let (head, path) = line.split_once('\t')?;
        Some((head.split(' ').nth(1)?.to_owned(), path.to_owned()))
    });
    lines.collect()
}

/// `CONTENT NANOSECONDS PATH` after the clone's path; nothing where that is another one.
fn parse(clone: &Path, record: &str) -> HashMap<Key, Duration> {
    let mut lines = record.lines();
    if lines.next() != clone.to_str() {
        return HashMap::new();
    }
    let lines = lines.filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (content, time, path) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        Some(((content.to_owned(), path.to_owned()), Duration::from_nanos(time)))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_the_record_name_the_same_files() {
        let listed = "100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 0\tweb/src/a b.rs\n";
        let key = ("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".to_owned(), "web/src/a b.rs".to_owned());
        assert_eq!(contents(listed), std::slice::from_ref(&key));
        let clone = Path::new("/here/it is");
        let record = format!("{}\n{} 17 {}\n", clone.display(), key.0, key.1);
        let earlier = parse(clone, &record);
        assert_eq!(earlier.get(&key), Some(&Duration::from_nanos(17)));
        assert_eq!(earlier.get(&("other".to_owned(), key.1.clone())), None, "another content is new");
        assert_eq!(parse(Path::new("/there"), &record).get(&key), None, "paths may be in programs");
    }

    #[test]
    fn a_time_is_given_back() {
        let file = std::env::temp_dir().join(format!("crowdcloud-xtask-time-{}", std::process::id()));
        std::fs::write(&file, "x").unwrap();
        let time = Duration::from_nanos(1_700_000_000_123_456_789);
        set(&file, time).unwrap();
        let found = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(found.duration_since(UNIX_EPOCH).unwrap(), time);
    }
}
