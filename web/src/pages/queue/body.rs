//! A message's body in a cell: the beginning of what it says, and all of it to copy.

use protocol::job::JobInput;
use protocol::text::is_hidden;
use sycamore::prelude::*;

use crate::base64;
use crate::format;
use crate::ui::copy::copy_button;

/// So much of a body is shown.
const SHOWN_CHARS: usize = 120;

/// What the body says, as text; none where it is bytes.
fn text(body: &JobInput) -> Option<String> {
    match body {
        JobInput::Text(text) => Some(text.clone()),
        JobInput::Json(value) => Some(value.to_string()),
        JobInput::Base64(text) => String::from_utf8(base64::decode(text)).ok().filter(|text| !text.contains('\0')),
        JobInput::Upload(digest) => Some(digest.to_string()),
    }
}

/// How large the body is; an upload's size is not known here.
pub(super) fn size(body: &JobInput) -> String {
    let bytes = match body {
        JobInput::Text(text) => text.len(),
        JobInput::Json(value) => value.to_string().len(),
        JobInput::Base64(text) => base64::decode(text).len(),
        JobInput::Upload(_) => return "–".to_owned(),
    };
    format::bytes(bytes as u64)
}

/// What kind of body it is, where that is not plain to see.
fn kind(body: &JobInput) -> &'static str {
    match body {
        JobInput::Text(_) => "",
        JobInput::Json(_) => "JSON",
        JobInput::Base64(_) => "bytes",
        JobInput::Upload(_) => "upload",
    }
}

/// One line, cut where it is long. What cannot be seen is written out.
fn preview(text: &str) -> String {
    let mut before = None;
    let mut line = String::new();
    for c in text.chars().take(SHOWN_CHARS) {
        let hidden = is_hidden(c, before.replace(c));
        match c {
            c if c.is_control() => line.push(' '),
            c if hidden => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() { line + "…" } else { line }
}

/// The cell.
pub(super) fn body_cell(body: &JobInput) -> View {
    let kind = kind(body);
    let Some(text) = text(body) else {
        return view! { span(class="soft") { (kind) } };
    };
    let shown = preview(&text);
    let copy = copy_button(text, "body");
    view! { span(class="line") { (copy) code { (shown) } span(class="soft") { (kind) } } }
}

#[cfg(test)]
mod tests {
    use super::{preview, size, text};
    use protocol::job::JobInput;

    #[test]
    fn bodies_are_told_as_what_they_are() {
        let json = JobInput::Json(serde_json::json!({"order": 17}));
        assert_eq!((text(&json).as_deref(), size(&json).as_str()), (Some("{\"order\":17}"), "12 B"));
        let bytes = JobInput::Base64("AAH/".to_owned());
        assert_eq!((text(&bytes), size(&bytes).as_str()), (None, "3 B"));
        assert_eq!(text(&JobInput::Base64("aGk=".to_owned())).as_deref(), Some("hi"));
        assert_eq!(preview("one\ntwo"), "one two");
        assert_eq!(preview("\u{202e}exe.\u{200b}txt"), "\\u{202e}exe.\\u{200b}txt");
        assert_eq!(preview(&"x".repeat(121)), format!("{}…", "x".repeat(120)));
        assert_eq!(preview(&"x".repeat(120)), "x".repeat(120));
    }
}
