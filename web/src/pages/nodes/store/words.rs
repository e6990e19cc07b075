//! How the store is, in words: of all of it, of its copies, of a disk.

use protocol::Timestamp;
use protocol::api::{StoreDisk, StoreDiskState, StoreLook, StoreScrub, StoreStatus};

use crate::format;

/// A line on how the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) about: &'static str,
    /// A tone and a word; none where it is a mere figure.
    pub(super) state: Option<(&'static str, String)>,
    pub(super) words: String,
    /// What happened then, and when.
    pub(super) when: Option<(&'static str, Timestamp)>,
}

/// How a disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DiskWords {
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
    pub(super) since: Option<Timestamp>,
    /// Whole sentences; empty where there is nothing to say.
    pub(super) why: String,
}

/// Whether something goes on that one may want to watch.
pub(super) fn is_at_work(status: &StoreStatus) -> bool {
    status.look.is_some() || has(status, StoreDiskState::Draining)
}

fn has(status: &StoreStatus, state: StoreDiskState) -> bool {
    status.disks.iter().any(|disk| disk.state == state)
}

/// A tone and a word for all of it: the worst that there is.
pub(super) fn verdict(status: &StoreStatus) -> (&'static str, &'static str) {
    let mut looks = [&status.last_look, &status.look].into_iter().flatten();
    let is_lost = looks.any(|look| look.lost > 0) || status.scrub.as_ref().is_some_and(|scrub| scrub.lost > 0);
    let is_short = status.last_look.as_ref().is_some_and(|look| look.fewer > 0);
    if is_lost {
        ("bad", "blobs lost")
    } else if has(status, StoreDiskState::Failing) {
        ("bad", "disk failing")
    } else if is_short {
        ("warn", "copies missing")
    } else if has(status, StoreDiskState::Full) {
        ("warn", "disk full")
    } else if has(status, StoreDiskState::Draining) {
        ("warn", "disk draining")
    } else if status.disks.is_empty() {
        ("warn", "no disk")
    } else {
        ("good", "working")
    }
}

/// What the copies amount to, in a sentence.
pub(super) fn summary(status: &StoreStatus) -> String {
    let is_failing = has(status, StoreDiskState::Failing);
    match (status.copies, status.disks.as_slice()) {
        (1, [_]) if !is_failing => "One folder, one copy: what its disk loses is lost.".to_owned(),
        _ => format!("{}.", format::sentence(&status.summary)),
    }
}

/// All that is to be said of it, but for its disks.
pub(super) fn lines(status: &StoreStatus) -> Vec<Line> {
    let copies = match &status.last_look {
        Some(look) => looked(look, status.copies),
        None => Line { about: "Copies", state: None, words: "Not looked at yet.".to_owned(), when: None },
    };
    let now = status.look.as_ref().map(looking);
    let checked = match &status.scrub {
        Some(scrub) => scrubbed(scrub),
        None => Line {
            about: "Bytes checked",
            state: None,
            words: "Not begun yet. All are read once in 30 days.".to_owned(),
            when: None,
        },
    };
    [Some(kept(status)), Some(copies), now, Some(checked)].into_iter().flatten().collect()
}

fn kept(status: &StoreStatus) -> Line {
    let kept = format!("{}, {}", format::many(status.blobs, "blob"), format::bytes(status.bytes.0));
    let words = match status.doomed {
        0 => kept,
        doomed => {
            let size = format::bytes(status.doomed_bytes.0);
            format!("{kept}. To be deleted: {}, {size}.", format::many(doomed, "blob"))
        }
    };
    Line { about: "Kept", state: None, words, when: None }
}

/// What the last whole look has come to.
fn looked(look: &StoreLook, wanted: u32) -> Line {
    let short = look.fewer.saturating_sub(look.lost);
    let made = made(look).map_or(String::new(), |made| format!(" {}.", format::sentence(&made)));
    let (state, words) = match (look.lost, short) {
        (0, 0) if wanted == 1 => (("good", "all there".to_owned()), format!("Every blob is there, once.{made}")),
        (0, 0) => {
            let copies = format::count(wanted, "copy");
            (("good", "all there".to_owned()), format!("Every blob has its {copies}.{made}"))
        }
        (0, short) => {
            let state = format!("{} with too few copies", format::many(short, "blob"));
            (("warn", state), format!("{} wanted.{made}", are(wanted)))
        }
        (lost, short) => {
            let few = match short {
                0 => String::new(),
                short => format!(" {} with too few copies.", format::many(short, "blob")),
            };
            let state = format!("{} lost", format::many(lost, "blob"));
            (("bad", state), format!("No whole copy of them is anywhere: a check names them.{few}{made}"))
        }
    };
    Line { about: "Copies", state: Some(state), words, when: Some(("looked at", look.ended.unwrap_or(look.began))) }
}

fn are(wanted: u32) -> String {
    let verb = if wanted == 1 { "is" } else { "are" };
    format!("{} {verb}", format::count(wanted, "copy"))
}

/// How far the look is that is under way, and what it has repaired.
fn looking(look: &StoreLook) -> Line {
    let state = match (look.lost, look.found) {
        (0, 0) => ("", format::percent(look.blobs, look.of)),
        (0, found) => ("warn", format!("{} had too few copies", format::many(found, "blob"))),
        (lost, _) => ("bad", format!("{} lost", format::many(lost, "blob"))),
    };
    let so_far = format!("{} of {} looked at", format::thousands(look.blobs), format::many(look.of, "blob"));
    let words = match made(look) {
        None => format!("{so_far}."),
        Some(made) => format!("{so_far}, {made}."),
    };
    Line { about: "Looking now", state: Some(state), words, when: Some(("since", look.began)) }
}

/// Copies that a look has made; none where it has not.
fn made(look: &StoreLook) -> Option<String> {
    let size = || format::bytes(look.copied_bytes.0);
    (look.copied > 0).then(|| format!("{} made ({})", format::count(look.copied, "copy"), size()))
}

/// How far the check of all bytes is.
fn scrubbed(scrub: &StoreScrub) -> Line {
    let state = match (scrub.lost, scrub.found) {
        (0, 0) => ("good", "all whole".to_owned()),
        (0, found) => ("warn", format!("{} with a bad copy", format::many(found, "blob"))),
        (lost, _) => ("bad", format!("{} lost", format::many(lost, "blob"))),
    };
    let words = format!("{}, {} read.", format::many(scrub.blobs, "blob"), format::bytes(scrub.bytes.0));
    let when = scrub.ended.map_or(("since", scrub.began), |ended| ("ended", ended));
    Line { about: "Bytes checked", state: Some(state), words, when: Some(when) }
}

/// How a disk is, and why.
pub(super) fn disk(disk: &StoreDisk) -> DiskWords {
    let left = |left: u64| format::many(left, "piece");
    let (tone, word, why) = match disk.state {
        StoreDiskState::Serving => ("good", "serving", String::new()),
        StoreDiskState::Full => ("warn", "full", "What is there is read; nothing new fits.".to_owned()),
        StoreDiskState::Failing => {
            let why = disk.why.as_deref().map(|why| format!("{}.", format::sentence(why.trim_end_matches('.'))));
            let leaving = disk.left.map(|number| format!("It is to be taken out: {} left.", left(number)));
            ("bad", "failing", [why, leaving].into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
        StoreDiskState::Draining => {
            let why = match disk.left {
                None => "What is left to move is counted at the next look.".to_owned(),
                Some(0) => "Nothing was left at the last look; another one makes sure.".to_owned(),
                Some(number) => format!("{} left to move.", left(number)),
            };
            ("warn", "draining", why)
        }
        StoreDiskState::Drained => ("", "drained", "Nothing that is needed is there: it may be taken out.".to_owned()),
    };
    DiskWords { tone, word, since: disk.since, why }
}

#[cfg(test)]
mod tests {
    use protocol::ByteSize;

    use super::*;

    fn look(found: u64, fewer: u64, lost: u64) -> StoreLook {
        StoreLook {
            began: Timestamp(1_000),
            ended: Some(Timestamp(5_000)),
            blobs: 7,
            of: 28,
            found,
            fewer,
            lost,
            copied: found - fewer,
            copied_bytes: ByteSize::mib(found - fewer),
            removed: 0,
        }
    }

    fn on(state: StoreDiskState) -> StoreDisk {
        StoreDisk {
            name: "disk /a".to_owned(),
            domain: "m/1".to_owned(),
            state,
            since: None,
            why: None,
            free: None,
            total: None,
            left: None,
        }
    }

    fn store(states: &[StoreDiskState]) -> StoreStatus {
        StoreStatus {
            summary: "2 copies, 2 disks: 1 disk may be lost".to_owned(),
            copies: 2,
            disks: states.iter().map(|state| on(*state)).collect(),
            blobs: 7,
            bytes: ByteSize::mib(20),
            doomed: 0,
            doomed_bytes: ByteSize(0),
            last_look: None,
            look: None,
            scrub: None,
        }
    }

    #[test]
    fn the_worst_is_told_first() {
        use StoreDiskState::{Draining, Failing, Full, Serving};
        assert_eq!(verdict(&store(&[Serving, Serving])), ("good", "working"));
        assert_eq!(verdict(&store(&[])), ("warn", "no disk"));
        assert_eq!(verdict(&store(&[Serving, Draining])), ("warn", "disk draining"));
        let mut store = store(&[Full, Draining, Serving]);
        assert_eq!(verdict(&store), ("warn", "disk full"));
        store.last_look = Some(look(3, 1, 0));
        assert_eq!(verdict(&store), ("warn", "copies missing"));
        store.disks[2].state = Failing;
        assert_eq!(verdict(&store), ("bad", "disk failing"));
        store.look = Some(look(1, 1, 1));
        assert_eq!(verdict(&store), ("bad", "blobs lost"));
    }

    #[test]
    fn one_folder_is_called_what_it_is() {
        let mut store = store(&[StoreDiskState::Serving]);
        assert_eq!(summary(&store), "2 copies, 2 disks: 1 disk may be lost.");
        store.copies = 1;
        assert_eq!(summary(&store), "One folder, one copy: what its disk loses is lost.");
    }

    #[test]
    fn copies_are_told_with_their_repair() {
        let told = |look: &StoreLook| {
            let line = looked(look, 2);
            let (tone, word) = line.state.unwrap();
            format!("{tone} | {word} | {}", line.words)
        };
        assert_eq!(told(&look(0, 0, 0)), "good | all there | Every blob has its 2 copies.");
        assert_eq!(told(&look(3, 0, 0)), "good | all there | Every blob has its 2 copies. 3 copies made (3 MiB).");
        let few = "warn | 1 blob with too few copies | 2 copies are wanted. 2 copies made (2 MiB).";
        assert_eq!(told(&look(3, 1, 0)), few);
        let lost = "bad | 2 blobs lost | No whole copy of them is anywhere: a check names them. \
                    1 blob with too few copies.";
        assert_eq!(told(&look(3, 3, 2)), lost);
        let now = looking(&look(0, 0, 0));
        assert_eq!((now.state, now.words.as_str()), (Some(("", "25 %".to_owned())), "7 of 28 blobs looked at."));
        assert_eq!(looking(&look(4, 1, 0)).words, "7 of 28 blobs looked at, 3 copies made (3 MiB).");
    }

    #[test]
    fn a_disk_says_why_and_how_far_it_is() {
        let mut failing = on(StoreDiskState::Failing);
        (failing.why, failing.since) = (Some("no such folder".to_owned()), Some(Timestamp(2_000)));
        let told = disk(&failing);
        assert_eq!((told.tone, told.why.as_str(), told.since), ("bad", "No such folder.", Some(Timestamp(2_000))));
        failing.left = Some(3);
        assert_eq!(disk(&failing).why, "No such folder. It is to be taken out: 3 pieces left.");
        let mut leaving = on(StoreDiskState::Draining);
        assert_eq!(disk(&leaving).why, "What is left to move is counted at the next look.");
        leaving.left = Some(1_204);
        assert_eq!(disk(&leaving).why, "1\u{202f}204 pieces left to move.");
        assert!(is_at_work(&store(&[StoreDiskState::Draining])) && !is_at_work(&store(&[StoreDiskState::Full])));
    }
}
