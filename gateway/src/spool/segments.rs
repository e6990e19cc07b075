//! The files of the spool: `<number>.ndjson`, one observation a line; the newest is open for appending until it is
//! read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::ByteSize;

const SUFFIX: &str = ".ndjson";
/// A longer segment is closed, so that a post is never of the whole spool.
const SEGMENT_MAX: u64 = 1 << 20;

/// The folder and its open file.
pub(super) struct Segments {
    folder: PathBuf,
    size_max: ByteSize,
    state: Mutex<State>,
}

struct State {
    open: Option<(u64, File, u64)>,
    next: u64,
    size: u64,
}

/// A closed file's observations, each still JSON.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    size: u64,
    pub(super) lines: Vec<Bytes>,
}

impl Segments {
    pub(super) fn open(folder: &Path, size_max: ByteSize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut size = 0;
        for number in numbers(folder)? {
            size += fs::metadata(file(folder, number))?.len();
        }
        let next = numbers(folder)?.into_iter().max().map_or(1, |last| last + 1);
        Ok(Self { folder: folder.to_owned(), size_max, state: Mutex::new(State { open: None, next, size }) })
    }

    /// Appends lines in one write; says how large the spool is now.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<u64> {
        let mut state = self.state.lock();
        if state.size + lines.len() as u64 > self.size_max.0 {
            return Err(io::Error::other(format!("the spool holds {} already", ByteSize(state.size))));
        }
        if state.open.as_ref().is_some_and(|(_, _, size)| *size >= SEGMENT_MAX) {
            state.open = None;
        }
        let (number, mut opened, size) = match state.open.take() {
            Some(open) => open,
            None => {
                let number = state.next;
                state.next += 1;
                let opened = OpenOptions::new().create_new(true).append(true).open(file(&self.folder, number))?;
                (number, opened, 0)
            }
        };
        // After a failed write the file stays closed: its last line may be torn, and is skipped when read.
        opened.write_all(lines)?;
        state.open = Some((number, opened, size + lines.len() as u64));
        state.size += lines.len() as u64;
        Ok(state.size)
    }

    /// The oldest segment; closes it, where it is still open.
    pub(super) fn oldest(&self) -> io::Result<Option<Segment>> {
        let Some(number) = numbers(&self.folder)?.into_iter().min() else { return Ok(None) };
        {
            let mut state = self.state.lock();
            if state.open.as_ref().is_some_and(|(open, ..)| *open == number) {
                state.open = None;
            }
        }
        let content = Bytes::from(fs::read(file(&self.folder, number))?);
        let whole = |line: &&[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        let lines = content
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .filter(whole)
            .map(|line| content.slice_ref(line))
            .collect();
        Ok(Some(Segment { number, size: content.len() as u64, lines }))
    }

    /// It has been acknowledged.
    pub(super) fn remove(&self, segment: &Segment) -> io::Result<()> {
        match fs::remove_file(file(&self.folder, segment.number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                let mut state = self.state.lock();
                state.size = state.size.saturating_sub(segment.size);
                Ok(())
            }
        }
    }

    /// It was refused: kept for the operator under another name, only the last one.
    pub(super) fn set_aside(&self, segment: &Segment) -> io::Result<()> {
        fs::rename(file(&self.folder, segment.number), self.folder.join("refused"))
    }
}

fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{SUFFIX}"))
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Some(number) =
            entry?.file_name().to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|name| name.parse().ok())
        {
            found.push(number);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(segment: &Segment) -> Vec<&str> {
        segment.lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn what_was_appended_is_read_once_it_is_acknowledged_never_again() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Segments::open(folder.path(), ByteSize::mib(1)).unwrap();
        assert!(spool.oldest().unwrap().is_none());
        spool.append(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
        let first = spool.oldest().unwrap().unwrap();
        assert_eq!(texts(&first), ["{\"a\":1}", "{\"a\":2}"]);
        spool.append(b"{\"a\":3}\n").unwrap();
        assert_eq!(texts(&spool.oldest().unwrap().unwrap()), ["{\"a\":1}", "{\"a\":2}"], "not acknowledged yet");
        spool.remove(&first).unwrap();
        let second = spool.oldest().unwrap().unwrap();
        assert_eq!(texts(&second), ["{\"a\":3}"]);
        spool.remove(&second).unwrap();
        assert!(spool.oldest().unwrap().is_none());
    }

    #[test]
    fn it_survives_the_process_and_skips_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Segments::open(folder.path(), ByteSize::mib(1)).unwrap();
        spool.append(b"{\"a\":1}\n{\"a\":").unwrap();
        drop(spool);
        let spool = Segments::open(folder.path(), ByteSize::mib(1)).unwrap();
        spool.append(b"{\"a\":2}\n").unwrap();
        let first = spool.oldest().unwrap().unwrap();
        assert_eq!(texts(&first), ["{\"a\":1}"]);
        spool.remove(&first).unwrap();
        assert_eq!(texts(&spool.oldest().unwrap().unwrap()), ["{\"a\":2}"]);
    }

    #[test]
    fn it_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Segments::open(folder.path(), ByteSize(10)).unwrap();
        spool.append(b"12345678\n").unwrap();
        assert!(spool.append(b"1\n").is_err());
        spool.remove(&spool.oldest().unwrap().unwrap()).unwrap();
        spool.append(b"1\n").unwrap();
    }
}
