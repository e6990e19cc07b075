//! What a run writes to stdout and stderr, cut into lines, bounded, and handed on as soon as a line is whole.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::node::LogStream;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// A line longer than this goes on in the next.
pub const LINE_BYTES_MAX: usize = 8 << 10;
/// A run's log has at most so many lines: each costs more than its text on its way.
pub const LINES_MAX: u32 = 4096;
/// Bytes that one turn of a guest may write.
const TURN_BYTES_MAX: usize = 256 << 10;
/// So many remarks are kept: guests cause them, as often as they like.
const REMARKS_MAX: u32 = 16;
// Remarks have numbers, too, and so have what was not whole, that the log is full, and how the run ended.
const _: () = assert!(LINES_MAX + 2 * REMARKS_MAX <= protocol::node::RunLog::LINES_MAX);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the run's log, from 0.
    pub sequence: u32,
    /// Where it came from.
    pub stream: LogStream,
    /// The text, without the line's end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// The log of one run. Cheap to clone; clones write to the same log.
#[derive(Clone)]
pub struct RunLogBook(Arc<Book>);

struct Book {
    sink: Box<dyn Fn(Line) + Send + Sync>,
    pages: Mutex<Pages>,
}

struct Pages {
    left_bytes: usize,
    cut: bool,
    remarks: u32,
    sequence: u32,
    partial: [Vec<u8>; 2],
}

impl RunLogBook {
    /// A log that keeps at most so many bytes. The sink must not wait.
    pub fn new(bytes_max: usize, sink: impl Fn(Line) + Send + Sync + 'static) -> Self {
        let partial = [Vec::new(), Vec::new()];
        let pages = Pages { left_bytes: bytes_max, cut: false, remarks: 0, sequence: 0, partial };
        Self(Arc::new(Book { sink: Box::new(sink), pages: Mutex::new(pages) }))
    }

    /// What a guest's stream writes to.
    pub fn writer(&self, stream: LogStream) -> LogWriter {
        LogWriter { book: self.clone(), stream, turn_bytes: 0 }
    }

    /// A line of the platform's.
    pub fn platform(&self, text: &str) {
        let mut pages = self.0.pages.lock();
        self.flush(&mut pages);
        self.emit(&mut pages, LogStream::Platform, text.as_bytes());
    }

    /// Whether a remark would be kept.
    pub(crate) fn takes_remarks(&self) -> bool {
        self.0.pages.lock().remarks < REMARKS_MAX
    }

    /// A line of the platform's on what the guest does; of many the first.
    pub fn remark(&self, text: &str) {
        let mut pages = self.0.pages.lock();
        if pages.remarks < REMARKS_MAX {
            pages.remarks += 1;
            self.emit(&mut pages, LogStream::Platform, &text.as_bytes()[..text.len().min(LINE_BYTES_MAX)]);
            if pages.remarks == REMARKS_MAX {
                self.emit(&mut pages, LogStream::Platform, b"further remarks of this kind are not kept");
            }
        }
    }

    /// Hands on what has no line's end.
    pub fn close(&self) {
        let mut pages = self.0.pages.lock();
        self.flush(&mut pages);
    }

    fn flush(&self, pages: &mut Pages) {
        for (slot, stream) in [(0, LogStream::Stdout), (1, LogStream::Stderr)] {
            let rest = std::mem::take(&mut pages.partial[slot]);
            if !rest.is_empty() {
                self.emit(pages, stream, &rest);
            }
        }
    }

    /// Takes what a guest wrote.
    pub fn write(&self, stream: LogStream, bytes: &[u8]) {
        let slot = usize::from(stream == LogStream::Stderr);
        let mut pages = self.0.pages.lock();
        if pages.cut {
            return;
        }
        let kept = bytes.len().min(pages.left_bytes);
        pages.left_bytes -= kept;
        let mut whole = kept == bytes.len();
        for piece in bytes[..kept].split_inclusive(|byte| *byte == b'\n') {
            if pages.sequence >= LINES_MAX {
                whole = false;
                break;
            }
            pages.partial[slot].extend_from_slice(piece);
            if piece.ends_with(b"\n") || pages.partial[slot].len() >= LINE_BYTES_MAX {
                let line = std::mem::take(&mut pages.partial[slot]);
                self.emit(&mut pages, stream, line.trim_ascii_end());
            }
        }
        if !whole {
            pages.cut = true;
            self.flush(&mut pages);
            self.emit(&mut pages, LogStream::Platform, b"the log is full; the rest is not kept");
        }
    }

    fn emit(&self, pages: &mut Pages, stream: LogStream, text: &[u8]) {
        let line = Line { sequence: pages.sequence, stream, text: String::from_utf8_lossy(text).into_owned() };
        pages.sequence += 1;
        (self.0.sink)(line);
    }
}

/// A guest's stdout or stderr.
pub struct LogWriter {
    book: RunLogBook,
    stream: LogStream,
    /// Written in this turn.
    turn_bytes: usize,
}

impl IsTerminal for LogWriter {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogWriter {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only p3 guests write this way, and they are not offered.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.book.writer(self.stream))
    }
}

#[async_trait]
impl OutputStream for LogWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.book.write(self.stream, &bytes);
        self.turn_bytes = self.turn_bytes.saturating_add(bytes.len());
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait]
impl Pollable for LogWriter {
    async fn ready(&mut self) {
        if self.turn_bytes >= TURN_BYTES_MAX {
            self.turn_bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn book(bytes_max: usize) -> (RunLogBook, mpsc::Receiver<Line>) {
        let (sink, lines) = mpsc::channel();
        (RunLogBook::new(bytes_max, move |line| sink.send(line).unwrap()), lines)
    }

    fn texts(lines: &mpsc::Receiver<Line>) -> Vec<(u32, LogStream, String)> {
        lines.try_iter().map(|line| (line.sequence, line.stream, line.text)).collect()
    }

    #[test]
    fn pieces_become_lines_and_streams_stay_apart() {
        let (book, lines) = book(1000);
        book.write(LogStream::Stdout, b"one\ntw");
        book.write(LogStream::Stderr, b"oops\n");
        book.write(LogStream::Stdout, b"o\r\nlast");
        book.close();
        let expected = [
            (0, LogStream::Stdout, "one"),
            (1, LogStream::Stderr, "oops"),
            (2, LogStream::Stdout, "two"),
            (3, LogStream::Stdout, "last"),
        ];
        assert_eq!(texts(&lines), expected.map(|(n, s, t)| (n, s, t.to_owned())));
    }

    #[test]
    fn a_full_log_is_cut_and_says_so() {
        let (book, lines) = book(10);
        book.write(LogStream::Stdout, b"12345\n789012345\n");
        book.write(LogStream::Stdout, b"never\n");
        book.platform("trap: unreachable");
        let texts: Vec<String> = texts(&lines).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts, ["12345", "7890", "the log is full; the rest is not kept", "trap: unreachable"]);
    }

    #[test]
    fn a05_a_log_has_a_bounded_number_of_lines() {
        let (book, lines) = book(1 << 20);
        for _ in 0..10 {
            book.write(LogStream::Stdout, &[b'\n'; 1000]);
        }
        let texts = texts(&lines);
        assert_eq!(texts.len(), usize::try_from(LINES_MAX).unwrap() + 1);
        assert_eq!(texts.last().unwrap().2, "the log is full; the rest is not kept");
    }

    #[test]
    fn a05_a_long_write_ends_the_turn_now_and_then() {
        let (book, _lines) = book(10);
        let mut writer = book.writer(LogStream::Stderr);
        let mut turns = 0;
        for _ in 0..(8 * TURN_BYTES_MAX / 4096) {
            OutputStream::write(&mut writer, Bytes::from_static(&[b'x'; 4096])).unwrap();
            let mut ready = writer.ready();
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            turns += usize::from(ready.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(turns, 8);
    }

    #[test]
    fn of_many_remarks_the_first_are_kept_and_none_is_long() {
        let (book, lines) = book(10);
        (0..100).for_each(|n| book.remark(&format!("{n} {}", "x".repeat(LINE_BYTES_MAX))));
        book.platform("trap: unreachable");
        let texts: Vec<String> = texts(&lines).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts.len(), 18);
        assert!(texts[15].starts_with("15 x") && texts[15].len() == LINE_BYTES_MAX);
        assert_eq!(texts[16..], ["further remarks of this kind are not kept", "trap: unreachable"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut_into_lines() {
        let (book, lines) = book(1 << 20);
        for _ in 0..20 {
            book.write(LogStream::Stdout, &[b'x'; 1024]);
        }
        book.close();
        let lengths: Vec<usize> = texts(&lines).into_iter().map(|(_, _, text)| text.len()).collect();
        assert_eq!(lengths, [8192, 8192, 4096]);
    }
}
