//! Commands and text that one copies.

use protocol::headers;
use sycamore::prelude::*;

use super::copy::copy_button;
use crate::{api, nav};

/// A block of text with a copy button. A command breaks between its words only, and never between a flag and its value.
pub(crate) fn code_block(text: impl Into<String>, what: &str) -> View {
    let text = text.into();
    let copy = copy_button(text.clone(), what);
    let shown = if what.contains("command") {
        command_view(&text)
    } else {
        view! { (text) }
    };
    view! { div(class="code") { pre(tabindex="0") { code { (shown) } } (copy) } }
}

/// A request of the API for this account, as `curl` makes it. `how` is the method's flag, such as `-X POST`; empty for
/// `GET`.
pub(crate) fn api_curl(account: &str, how: &str, path: &str) -> String {
    let how = if how.is_empty() { String::new() } else { format!(" {how}") };
    let (origin, base, header) = (nav::origin(), api::BASE, headers::ACCOUNT);
    format!(
        "curl{how} -H \"Authorization: Bearer $(crowdcloud token)\" \\\n  -H '{header}: {account}' {origin}{base}{path}"
    )
}

/// A text on one line with a copy button, cut where it is too long.
pub(crate) fn code_line(text: impl Into<String>, what: &str) -> View {
    let text = text.into();
    let copy = copy_button(text.clone(), what);
    let title = text.clone();
    view! { span(class="line") { code(title=title) { (text) } (copy) } }
}

/// What fits on a phone's line of code.
const LINE_CHARS: usize = 28;

fn command_view(text: &str) -> View {
    let parts: Vec<View> = parts(text)
        .into_iter()
        .map(|part| match part {
            Part::Words(words) => words_view(words),
            Part::Space(space) => view! { (space) },
        })
        .collect();
    parts.into()
}

/// On one line where that is short enough for phones; else a flag by itself, and its value broken where it must be.
fn words_view(words: String) -> View {
    if words.chars().count() <= LINE_CHARS {
        return view! { span(class="words") { (words) } };
    }
    match words.split_once(' ').filter(|(flag, _)| is_flag(flag)) {
        Some((flag, value)) => {
            let (flag, value) = (flag.to_owned(), format!(" {value}"));
            view! { span(class="words") { (flag) } (value) }
        }
        None => view! { (words) },
    }
}

/// A piece of a command.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// What stays on one line, as far as that is long enough.
    Words(String),
    /// What is between.
    Space(String),
}

/// The pieces of a command, in order; together they are its text.
fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let space = rest.len() - rest.trim_start().len();
        if space > 0 {
            let (space, after) = rest.split_at(space);
            parts.push(Part::Space(space.to_owned()));
            rest = after;
            continue;
        }
        let (word, after) = rest.split_at(word_end(rest));
        rest = after;
        // A flag takes its value along.
        let joins = match parts.as_slice() {
            [.., Part::Words(flag), Part::Space(space)] => {
                space == " " && is_flag(flag) && (word == "-" || !word.starts_with('-')) && word != "\\" && word != "|"
            }
            _ => false,
        };
        if joins {
            parts.pop();
            if let Some(Part::Words(flag)) = parts.last_mut() {
                flag.push(' ');
                flag.push_str(word);
            }
        } else {
            parts.push(Part::Words(word.to_owned()));
        }
    }
    parts
}

/// `-d`, `--label`; not `-`, and not one that has its value already.
fn is_flag(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    name.len() < word.len() && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Where the first word of a shell's text ends: at white space outside of quotes.
fn word_end(text: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"') | None, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => return place,
            _ => {}
        }
        // A line that goes on ends its word: the escape is the line's end.
        if escaped && text[place + c.len_utf8()..].starts_with('\n') {
            return place + c.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Part, parts};

    fn words(text: &str) -> Vec<String> {
        let words = |part| match part {
            Part::Words(words) => Some(words),
            Part::Space(_) => None,
        };
        parts(text).into_iter().filter_map(words).collect()
    }

    #[test]
    fn flags_keep_their_values() {
        let text = "crowdcloud jobs submit thumbs@v3 '/a b' -d 'it is' --retries 2 --wait --account ada";
        let expected = [
            "crowdcloud",
            "jobs",
            "submit",
            "thumbs@v3",
            "'/a b'",
            "-d 'it is'",
            "--retries 2",
            "--wait",
            "--account ada",
        ];
        assert_eq!(words(text), expected);
    }

    #[test]
    fn lines_that_go_on_stay_lines() {
        let text = "curl -i \\\n  -H \"Authorization: Bearer $(crowdcloud token)\" \\\n  -d @- http://x/";
        let expected =
            ["curl", "-i", "\\", "-H \"Authorization: Bearer $(crowdcloud token)\"", "\\", "-d @-", "http://x/"];
        assert_eq!(words(text), expected);
    }

    #[test]
    fn nothing_is_lost() {
        for text in ["", " a  b\n", "printf %s 'it'\\''s' | x -d - --y", "a 'open", "a \\", "-", "é \u{a0}ü -é x"] {
            let joined: String = parts(text)
                .into_iter()
                .map(|part| match part {
                    Part::Words(text) | Part::Space(text) => text,
                })
                .collect();
            assert_eq!(joined, text);
        }
    }
}
