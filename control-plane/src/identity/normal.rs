//! One form of what people type (RFC 8265): keyboards and systems write the same characters with different code points,
//! such as `ü` as one or as `u` and dots. What is compared or hashed is brought to one form first.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

/// A password (the profile `OpaqueString`): all kinds of spaces are one, and characters are composed (NFC). Case and width
/// stay as they are.
pub(super) fn password(typed: &str) -> Cow<'_, str> {
    if typed.is_ascii() {
        return Cow::Borrowed(typed);
    }
    Cow::Owned(typed.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc().collect())
}

/// Unicode's `Space_Separator`.
fn is_space(c: char) -> bool {
    c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')
}

/// An address (the profile `UsernameCaseMapped`): wide and narrow forms are the usual ones, in lower case, composed.
pub(super) fn address(typed: &str) -> String {
    if typed.is_ascii() {
        return typed.to_ascii_lowercase();
    }
    let mut usual = String::with_capacity(typed.len());
    for c in typed.chars() {
        match c {
            '\u{ff00}'..='\u{ffef}' => usual.extend(std::iter::once(c).nfkc()),
            c => usual.push(c),
        }
    }
    usual.nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// The forms in which an address may be kept: earlier releases kept it as it was typed, in lower case. What comes first is
/// meant, where several are kept.
pub(super) fn kept_addresses(typed: &str) -> Vec<String> {
    let now = address(typed);
    let mut forms = vec![typed.to_lowercase()];
    for form in [now.nfd().collect(), now] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f31_passwords_are_composed_and_keep_all_else() {
        for (typed, form) in [
            ("Gru\u{308}ne Wiese", "Gr\u{fc}ne Wiese"),
            ("Gr\u{fc}ne\u{a0}Wiese", "Gr\u{fc}ne Wiese"),
            ("\u{3000}\u{2003}x\u{e9}", "  x\u{e9}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            // Ångström and A with a ring are canonically the same.
            ("\u{212b}", "\u{c5}"),
            // The marks' order means nothing.
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            // What only looks alike is another password.
            ("\u{ff21}bc \u{fb01}", "\u{ff21}bc \u{fb01}"),
            ("PaSs wOrD\t", "PaSs wOrD\t"),
        ] {
            assert_eq!(password(typed), form, "{typed:?}");
            assert_eq!(password(form), form, "it is the same again: {form:?}");
        }
    }

    #[test]
    fn f31_addresses_have_one_form() {
        for (typed, form) in [
            ("Ada@Example.org", "ada@example.org"),
            ("J\u{fc}rgen@b\u{fc}cher.example", "j\u{fc}rgen@b\u{fc}cher.example"),
            ("JU\u{308}RGEN@BU\u{308}CHER.example", "j\u{fc}rgen@b\u{fc}cher.example"),
            ("\u{ff41}da\u{ff20}example.org", "ada@example.org"),
        ] {
            assert_eq!(address(typed), form, "{typed:?}");
            assert_eq!(address(form), form);
            assert!(kept_addresses(typed).contains(&form.to_owned()));
        }
        assert_eq!(kept_addresses("Ada@Example.org"), ["ada@example.org"]);
        // As an earlier release kept it, whichever form is typed now.
        for typed in ["ju\u{308}rgen@x.example", "j\u{fc}rgen@x.example"] {
            assert!(kept_addresses(typed).contains(&"ju\u{308}rgen@x.example".to_owned()), "{typed:?}");
        }
    }
}
