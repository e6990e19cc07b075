//! Texts for people that somebody chooses and others see: names of keys, notes, labels. What cannot be seen in them, or
//! turns what stands beside it, is refused where it comes in and made visible where it is shown.

use crate::field::{Field, Invalid};

/// The zero-width joiner: it makes one emoji of two.
const JOINER: char = '\u{200d}';
/// Shows the character before it as an emoji.
const AS_EMOJI: char = '\u{fe0f}';

/// Whether a character cannot be seen where it stands, after `before`: controls, marks that turn the direction of
/// writing, and what takes no space. (Spaces can be seen.)
#[must_use]
pub fn is_hidden(c: char, before: Option<char>) -> bool {
    match c {
        ' '..='~' => false,
        JOINER | AS_EMOJI => !before.is_some_and(|before| before == AS_EMOJI || is_picture(before)),
        _ => {
            c.is_control()
                || matches!(c,
                    '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                    | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                    | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                    | '\u{e0000}'..='\u{e0fff}')
        }
    }
}

/// Symbols that may be joined, or shown in two ways.
fn is_picture(c: char) -> bool {
    matches!(c, '#' | '*' | '0'..='9' | '\u{a9}' | '\u{ae}' | '\u{203c}'..='\u{2049}' | '\u{2100}'..='\u{2bff}'
        | '\u{3030}'..='\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

/// The first character that cannot be seen.
#[must_use]
pub fn hidden_in(text: &str) -> Option<char> {
    let mut before = None;
    text.chars().find(|&c| is_hidden(c, before.replace(c)))
}

/// Refuses a text with a character that cannot be seen.
///
/// # Errors
/// Names the field and the character.
pub fn check(field: impl Into<Field>, text: &str) -> Result<(), Invalid> {
    let Some(hidden) = hidden_in(text) else { return Ok(()) };
    let field = field.into();
    let why = format!("`{field}` has the character U+{:04X}, which cannot be seen", u32::from(hidden));
    Err(Invalid { field, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_what_cannot_be_seen_is_refused() {
        for good in [
            "ci",
            "Grüße, 世界",
            "a b\u{a0}c\u{3000}d",
            "שלום",
            "🦀 👩\u{200d}💻 ❤\u{fe0f}",
            "👁\u{fe0f}\u{200d}🗨\u{fe0f}",
            "",
        ] {
            assert_eq!(check("name", good), Ok(()), "{good:?}");
        }
        for bad in [
            '\0',
            '\u{1b}',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fffb}',
            '\u{e0041}',
        ] {
            let wrong = check("name", &format!("a{bad}b")).unwrap_err();
            assert_eq!(wrong.field.as_str(), "name");
            assert!(wrong.why.contains(&format!("U+{:04X}", u32::from(bad))), "{wrong}");
            assert!(check("name", &bad.to_string()).is_err());
        }
    }
}
