//! Server-sent events, by `fetch`: `EventSource` cannot name the account in a header.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use sycamore::prelude::document;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::ReadableStreamDefaultReader;
use web_sys::js_sys::{Array, Promise, Reflect, Uint8Array};

use crate::api::{Abort, Call, Result, Trouble};
use crate::load::pause;

/// How often it is looked whether anybody still sees the page.
const LOOK_MS: i32 = 1_000;
/// The server says something every 10 s: one that says nothing for so many looks has gone.
const QUIET_LOOKS: u32 = 30;

/// A stream of events. Dropping it ends it.
pub(crate) struct Events<T> {
    reader: ReadableStreamDefaultReader,
    /// What is being read.
    read: Option<Promise>,
    lines: Lines,
    _abort: Abort,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Events<T> {
    /// Begins to listen.
    pub(crate) async fn open(call: Call) -> Result<Self> {
        let abort = Abort::new()?;
        let answer = call.open(&abort.signal()).await?;
        let body = answer.body().ok_or_else(Trouble::unreachable)?;
        let reader = body.get_reader().unchecked_into();
        Ok(Self { reader, read: None, lines: Lines::default(), _abort: abort, of: PhantomData })
    }

    /// What came since; none where the stream has ended, or where nobody sees the page: browsers have few connections.
    pub(crate) async fn next(&mut self) -> Option<Vec<T>> {
        let mut quiet = 0;
        loop {
            let read = self.read.take().unwrap_or_else(|| self.reader.read());
            let first = Promise::race(&Array::of2(&read, &pause(LOOK_MS)));
            let came = JsFuture::from(first).await.ok()?;
            if came.is_undefined() {
                self.read = Some(read);
                quiet += 1;
                if document().hidden() || quiet > QUIET_LOOKS {
                    return None;
                }
                continue;
            }
            quiet = 0;
            // At the end there is no value.
            let piece: Uint8Array = Reflect::get(&came, &"value".into()).ok()?.dyn_into().ok()?;
            let events = self.lines.feed(&piece.to_vec());
            if !events.is_empty() {
                return Some(events);
            }
        }
    }
}

/// The lines of a stream, which come in pieces.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The events that this piece completes; each has its data on one line, as JSON has no line breaks.
    fn feed<T: DeserializeOwned>(&mut self, piece: &[u8]) -> Vec<T> {
        self.0.extend_from_slice(piece);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        let data = whole.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
        data.filter_map(|data| serde_json::from_slice(data.trim_ascii()).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn events_come_in_pieces() {
        let mut lines = Lines::default();
        let mut feed = |text: &str| lines.feed::<u32>(text.as_bytes());
        assert_eq!(feed(": ping\n\nevent: job\nid: 7\nda"), [0; 0]);
        assert_eq!(feed("ta: 7\n\nevent: job\ndata:8\r\n\n"), [7, 8]);
        assert_eq!(feed("data: what is this\n\ndata: 9"), [0; 0]);
        assert_eq!(feed("\n"), [9]);
    }
}
