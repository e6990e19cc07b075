//! The files of the spool: `<epoch>.<number>.ndjson`, one observation a line. A file is a batch. The newest is open for
//! appending until it is sealed; from then on neither its name nor its lines change, also over a new start: what was sent
//! once is sent again as it was.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::{ByteSize, EpochId};

/// Observations of one batch.
pub(super) const BATCH_MAX: usize = 512;
/// A batch that has so many bytes is sealed, however few observations they are.
const BATCH_BYTES_MAX: u64 = 1 << 20;
/// Batches that were refused are kept for the operator, so many at most.
const REFUSED_MAX: usize = 16;
const SUFFIX: &str = ".ndjson";
const REFUSED: &str = "refused-";

/// A batch's name: which start of the process has made it, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) epoch: EpochId,
    pub(super) number: u64,
}

impl Name {
    fn file(self) -> String {
        format!("{}.{:020}{SUFFIX}", self.epoch, self.number)
    }

    fn parse(file: &str) -> Option<Self> {
        let (epoch, number) = file.strip_suffix(SUFFIX)?.split_once('.')?;
        Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
    }
}

/// The folder, its open batch, and those that wait to be sent.
pub(super) struct Batches {
    folder: PathBuf,
    size_max: ByteSize,
    state: Mutex<State>,
}

struct State {
    epoch: EpochId,
    next: u64,
    open: Option<Open>,
    /// The oldest first.
    sealed: VecDeque<Name>,
    size: u64,
}

struct Open {
    name: Name,
    file: File,
    since: Instant,
    count: usize,
    size: u64,
}

impl Open {
    fn is_full(&self, more: usize, more_bytes: u64) -> bool {
        self.count + more > BATCH_MAX || self.size + more_bytes > BATCH_BYTES_MAX
    }
}

/// A sealed batch's observations, each still JSON.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) name: Name,
    pub(super) lines: Vec<Bytes>,
    size: u64,
}

impl Batches {
    /// Opens the folder, for an epoch of its own. What earlier starts have left there is sealed, and comes first.
    pub(super) fn open(folder: &Path, size_max: ByteSize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (mut left, mut unnumbered, mut size) = (Vec::new(), Vec::new(), 0);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            if let Some(name) = Name::parse(file) {
                left.push(name);
                size += entry.metadata()?.len();
            } else if let Some(number) = file.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()) {
                unnumbered.push((number, entry.path()));
            }
        }
        left.sort_unstable();
        unnumbered.sort_unstable();
        let state = State { epoch: EpochId::new(), next: 1, open: None, sealed: left.into(), size };
        let batches = Self { folder: folder.to_owned(), size_max, state: Mutex::new(state) };
        for (_, path) in unnumbered {
            batches.number(&path)?;
        }
        Ok(batches)
    }

    /// Takes over a file of the release before, whose files were no batches: after a crash in between some observations
    /// are sent twice, and count once.
    fn number(&self, path: &Path) -> io::Result<()> {
        let lines = whole_lines(&Bytes::from(fs::read(path)?));
        let mut state = self.state.lock();
        for lines in lines.chunks(BATCH_MAX) {
            state.write(&self.folder, &joined(lines), lines.len())?;
        }
        state.seal();
        fs::remove_file(path)
    }

    /// Appends so many lines in one write; says how large the spool is now.
    pub(super) fn append(&self, lines: &[u8], count: usize) -> io::Result<u64> {
        let mut state = self.state.lock();
        if state.size + lines.len() as u64 > self.size_max.0 {
            return Err(io::Error::other(format!("the spool holds {} already", ByteSize(state.size))));
        }
        state.write(&self.folder, lines, count)?;
        Ok(state.size)
    }

    /// Seals the open batch, where it is so old; otherwise says how long that takes still.
    pub(super) fn seal_after(&self, age: Duration) -> Option<Duration> {
        let mut state = self.state.lock();
        let left = age.saturating_sub(state.open.as_ref()?.since.elapsed());
        if !left.is_zero() {
            return Some(left);
        }
        state.seal();
        None
    }

    /// The oldest sealed batch that is none of these.
    pub(super) fn oldest_but(&self, others: &HashSet<Name>) -> io::Result<Option<Batch>> {
        loop {
            let oldest = self.state.lock().sealed.iter().find(|name| !others.contains(name)).copied();
            let Some(name) = oldest else { return Ok(None) };
            match fs::read(self.path(name)) {
                Ok(content) => {
                    let content = Bytes::from(content);
                    return Ok(Some(Batch { name, lines: whole_lines(&content), size: content.len() as u64 }));
                }
                // Somebody else has sent it, or has removed it: nothing is left of this number.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.state.lock().sealed.retain(|other| *other != name);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The oldest sealed batch.
    #[cfg(test)]
    pub(super) fn oldest(&self) -> io::Result<Option<Batch>> {
        self.oldest_but(&HashSet::new())
    }

    /// Nothing of an epoch is left up to this number.
    pub(super) fn acknowledged(&self, epoch: EpochId) -> u64 {
        let state = self.state.lock();
        let first = state.sealed.iter().find(|name| name.epoch == epoch).map_or(state.next, |name| name.number);
        first.saturating_sub(1)
    }

    /// It has been acknowledged. Says how large the spool is now.
    pub(super) fn remove(&self, batch: &Batch) -> io::Result<u64> {
        match fs::remove_file(self.path(batch.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(self.gone(batch)),
        }
    }

    /// Something else was committed under its number: its observations get another one. Should they be committed already,
    /// they count once.
    pub(super) fn renumber(&self, batch: &Batch) -> io::Result<u64> {
        if !batch.lines.is_empty() {
            self.state.lock().write(&self.folder, &joined(&batch.lines), batch.lines.len())?;
        }
        self.remove(batch)
    }

    /// It was refused for good: kept for the operator under another name, with those that were refused before it.
    pub(super) fn set_aside(&self, batch: &Batch) -> io::Result<u64> {
        let mut refused = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let file = entry?.file_name();
            refused.extend(file.to_str().filter(|file| file.starts_with(REFUSED)).map(str::to_owned));
        }
        // By the time of their epochs.
        refused.sort_unstable();
        for oldest in refused.iter().take((refused.len() + 1).saturating_sub(REFUSED_MAX)) {
            fs::remove_file(self.folder.join(oldest))?;
        }
        let aside = self.folder.join(format!("{REFUSED}{}", batch.name.file()));
        match fs::rename(self.path(batch.name), aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(self.gone(batch)),
        }
    }

    fn gone(&self, batch: &Batch) -> u64 {
        let mut state = self.state.lock();
        state.sealed.retain(|name| *name != batch.name);
        state.size = state.size.saturating_sub(batch.size);
        state.size
    }

    fn path(&self, name: Name) -> PathBuf {
        self.folder.join(name.file())
    }
}

impl State {
    /// Puts lines into the open batch, or into the next one where they do not fit.
    fn write(&mut self, folder: &Path, lines: &[u8], count: usize) -> io::Result<()> {
        let bytes = lines.len() as u64;
        if self.open.as_ref().is_some_and(|open| open.is_full(count, bytes)) {
            self.seal();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let name = Name { epoch: self.epoch, number: self.next };
                let file = OpenOptions::new().create_new(true).append(true).open(folder.join(name.file()))?;
                self.next += 1;
                Open { name, file, since: Instant::now(), count: 0, size: 0 }
            }
        };
        let written = open.file.write_all(lines);
        (open.count, open.size) = (open.count + count, open.size + bytes);
        self.size += bytes;
        let ends = written.is_err() || open.is_full(1, 0);
        self.open = Some(open);
        // After a failed write the last line may be torn: it is left out when the batch is read, and nothing follows it.
        if ends {
            self.seal();
        }
        written
    }

    /// Nothing more is written to the open batch.
    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.sealed.push_back(open.name);
        }
    }
}

/// The lines that are whole.
fn whole_lines(content: &Bytes) -> Vec<Bytes> {
    let whole = |line: &&[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    let lines = content.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.filter(whole).map(|line| content.slice_ref(line)).collect()
}

fn joined(lines: &[Bytes]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        joined.extend_from_slice(line);
        joined.push(b'\n');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect()
    }

    fn open(folder: &Path) -> Batches {
        Batches::open(folder, ByteSize::mib(1)).unwrap()
    }

    #[test]
    fn what_was_appended_is_read_once_it_is_acknowledged_never_again() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        assert!(spool.oldest().unwrap().is_none());
        spool.append(b"{\"a\":1}\n{\"a\":2}\n", 2).unwrap();
        assert!(spool.oldest().unwrap().is_none(), "it is open");
        assert!(spool.seal_after(Duration::from_secs(60)).is_some_and(|left| left > Duration::from_secs(50)));
        assert!(spool.seal_after(Duration::ZERO).is_none());
        let first = spool.oldest().unwrap().unwrap();
        assert_eq!((texts(&first), first.name.number), (vec!["{\"a\":1}", "{\"a\":2}"], 1));
        spool.append(b"{\"a\":3}\n", 1).unwrap();
        spool.seal_after(Duration::ZERO);
        assert_eq!(texts(&spool.oldest().unwrap().unwrap()), ["{\"a\":1}", "{\"a\":2}"], "not acknowledged yet");
        spool.remove(&first).unwrap();
        let second = spool.oldest().unwrap().unwrap();
        assert_eq!((texts(&second), second.name.number), (vec!["{\"a\":3}"], 2));
        assert_eq!(spool.remove(&second).unwrap(), 0);
        assert!(spool.oldest().unwrap().is_none());
    }

    #[test]
    fn a_full_batch_is_sealed_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        spool.append(&b"1\n".repeat(BATCH_MAX - 1), BATCH_MAX - 1).unwrap();
        assert!(spool.oldest().unwrap().is_none());
        spool.append(b"1\n1\n", 2).unwrap();
        assert_eq!(spool.oldest().unwrap().unwrap().lines.len(), BATCH_MAX - 1);
        spool.append(&b"1\n".repeat(BATCH_MAX - 2), BATCH_MAX - 2).unwrap();
        spool.remove(&spool.oldest().unwrap().unwrap()).unwrap();
        assert_eq!(spool.oldest().unwrap().unwrap().lines.len(), BATCH_MAX);
        assert!(spool.seal_after(Duration::ZERO).is_none());
    }

    #[test]
    fn names_and_lines_outlive_the_process_but_for_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        spool.append(b"1\n", 1).unwrap();
        spool.seal_after(Duration::ZERO);
        let first = spool.oldest().unwrap().unwrap().name;
        spool.append(b"2\n{\"a\":", 2).unwrap();
        drop(spool);
        let spool = open(folder.path());
        spool.append(b"3\n", 1).unwrap();
        spool.seal_after(Duration::ZERO);
        let mut found = Vec::new();
        while let Some(batch) = spool.oldest().unwrap() {
            found.push((batch.name, texts(&batch).join(" ")));
            spool.remove(&batch).unwrap();
        }
        assert_eq!(found[..2], [(first, "1".to_owned()), (Name { number: 2, ..first }, "2".to_owned())]);
        assert_eq!((found.len(), found[2].0.number, found[2].1.as_str()), (3, 1, "3"));
        assert_ne!(found[2].0.epoch, first.epoch, "each start has its own epoch");
    }

    #[test]
    fn files_of_the_release_before_become_batches() {
        let folder = tempfile::tempdir().unwrap();
        let old = |number: u64| folder.path().join(format!("{number:020}{SUFFIX}"));
        fs::write(old(9), b"4\n{\"torn\":").unwrap();
        fs::write(old(8), [&b"1\n".repeat(BATCH_MAX)[..], b"2\n3\n"].concat()).unwrap();
        let spool = open(folder.path());
        assert!(!old(8).exists() && !old(9).exists());
        let mut found = Vec::new();
        while let Some(batch) = spool.oldest().unwrap() {
            found.push((batch.name.number, batch.lines.len()));
            spool.remove(&batch).unwrap();
        }
        assert_eq!(found, [(1, BATCH_MAX), (2, 2), (3, 1)]);
    }

    #[test]
    fn what_is_refused_is_kept_but_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        for number in 0..REFUSED_MAX + 3 {
            spool.append(format!("{number}\n").as_bytes(), 1).unwrap();
            spool.seal_after(Duration::ZERO);
            assert_eq!(spool.set_aside(&spool.oldest().unwrap().unwrap()).unwrap(), 0);
        }
        let mut kept: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        kept.sort_unstable();
        assert_eq!(kept.len(), REFUSED_MAX);
        assert_eq!(fs::read(&kept[0]).unwrap(), b"3\n");
        assert!(open(folder.path()).oldest().unwrap().is_none(), "they are not sent again");
    }

    #[test]
    fn another_number_for_what_was_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        for line in [b"1\n", b"2\n"] {
            spool.append(line, 1).unwrap();
            spool.seal_after(Duration::ZERO);
        }
        spool.renumber(&spool.oldest().unwrap().unwrap()).unwrap();
        spool.seal_after(Duration::ZERO);
        let second = spool.oldest().unwrap().unwrap();
        assert_eq!((second.name.number, texts(&second)), (2, vec!["2"]));
        spool.remove(&second).unwrap();
        let third = spool.oldest().unwrap().unwrap();
        assert_eq!((third.name.number, texts(&third)), (3, vec!["1"]));
    }

    #[test]
    fn it_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Batches::open(folder.path(), ByteSize(10)).unwrap();
        spool.append(b"12345678\n", 1).unwrap();
        assert!(spool.append(b"1\n", 1).is_err());
        spool.seal_after(Duration::ZERO);
        spool.remove(&spool.oldest().unwrap().unwrap()).unwrap();
        spool.append(b"1\n", 1).unwrap();
    }
}
