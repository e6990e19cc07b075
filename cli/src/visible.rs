//! What others wrote, as it may be shown: functions, other members, nodes and servers choose names, labels, log lines and
//! errors, and a terminal obeys control characters. So they are made visible: `\x1b`, `\u{202e}`.
//!
//! Text for people is shown so wherever it goes, because what is piped is often shown by the next program. Programs read
//! `--json`, which keeps every character, as an escape of JSON. A function's answer is bytes: it goes out as it is, but
//! to a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use protocol::text::{hidden_in, is_hidden};

fn write(text: &mut String, c: char) {
    let written = match c {
        '\n' => text.write_str("\\n"),
        '\r' => text.write_str("\\r"),
        '\t' => text.write_str("\\t"),
        c if c.is_ascii() => write!(text, "\\x{:02x}", u32::from(c)),
        c => write!(text, "\\u{{{:x}}}", u32::from(c)),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn shown(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = None;
    for c in text.chars() {
        let hidden = is_hidden(c, before.replace(c));
        if hidden && !kept.contains(&c) { write(&mut shown, c) } else { shown.push(c) }
    }
    shown
}

/// A text on one line: a name, a cell, a line of a log.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if hidden_in(text).is_some() { Cow::Owned(shown(text, &[])) } else { Cow::Borrowed(text) }
}

/// A text that may have lines and tabs.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    if hidden_in(text).is_some() { Cow::Owned(shown(text, &['\n', '\t'])) } else { Cow::Borrowed(text) }
}

/// A JSON document with escapes where a terminal would act: they stand in its strings only, and mean the same.
pub(crate) fn json(text: String) -> String {
    let acts = |c: char| is_hidden(c, None);
    if !text.chars().any(acts) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let written = write!(shown, "\\u{unit:04x}");
                debug_assert!(written.is_ok(), "a String takes everything");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Makes bytes visible that come in pieces, which may end within a character.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    begun: Vec<u8>,
}

impl Pieces {
    /// What can be shown after this piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> String {
        self.begun.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // Bytes that are no UTF-8 are replaced; what may still become a character stands at the end.
            _ => self.begun.len() - unfinished(&self.begun),
        };
        let rest = self.begun.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.begun, rest)).into_owned();
        shown(&text, &['\n', '\t'])
    }

    /// What was left at the end.
    pub(crate) fn end(&mut self) -> String {
        let rest = std::mem::take(&mut self.begun);
        shown(&String::from_utf8_lossy(&rest), &['\n', '\t'])
    }
}

/// Bytes at the end that are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let Some(chunk) = bytes.utf8_chunks().last() else { return 0 };
    let invalid = chunk.invalid();
    let may_go_on = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if may_go_on { invalid.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_what_a_terminal_would_obey_is_shown() {
        assert_eq!(line("plain ü 漢 🦀"), "plain ü 漢 🦀");
        assert_eq!(line("\u{1b}[2J\u{1b}]0;owned\u{7}"), "\\x1b[2J\\x1b]0;owned\\x07");
        assert_eq!(line("a\r\nplatform: b\tc"), "a\\r\\nplatform: b\\tc");
        assert_eq!(line("\u{9b}31m\u{7f}\u{85}"), "\\u{9b}31m\\x7f\\u{85}", "C1 controls and DEL, too");
        assert_eq!(line("a\u{202e}b\u{2066}c\u{2028}"), "a\\u{202e}b\\u{2066}c\\u{2028}", "turned writing");
        assert_eq!(line("a\u{200b}b\u{200d}c\u{ad}d"), "a\\u{200b}b\\u{200d}c\\u{ad}d", "what takes no space");
        assert_eq!(line("👩\u{200d}💻 ❤\u{fe0f}"), "👩\u{200d}💻 ❤\u{fe0f}", "one picture of two");
        assert_eq!(lines("a\n\tb\u{8}"), "a\n\tb\\x08");
        assert!(!lines(&(0..=0x2100).filter_map(char::from_u32).collect::<String>()).contains('\u{1b}'));
    }

    #[test]
    fn a16_json_keeps_its_meaning() {
        let value = serde_json::json!({"text": "a\u{1b}\u{9b}\u{202e}\u{7f}b\n"});
        let text = json(value.to_string());
        assert_eq!(hidden_in(&text), None, "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn a16_characters_that_are_cut_are_put_together() {
        let text = "ü漢🦀\u{9b}x\u{1b}[m".as_bytes();
        for cut in 0..text.len() {
            let mut pieces = Pieces::default();
            let whole = pieces.push(&text[..cut]) + &pieces.push(&text[cut..]) + &pieces.end();
            assert_eq!(whole, "ü漢🦀\\u{9b}x\\x1b[m", "cut at {cut}");
        }
        let mut pieces = Pieces::default();
        assert_eq!(pieces.push(b"a\xffb\xf0\x9f"), "a\u{fffd}b");
        assert_eq!(pieces.end(), "\u{fffd}");
    }
}
