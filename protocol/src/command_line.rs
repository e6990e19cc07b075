//! Command lines of images: words, quotes and backslashes as a POSIX shell reads them. Nothing else of a shell is there:
//! who needs variables or pipes starts one, as in `/bin/sh -c 'echo $HOME'`.

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize as _, Deserializer, Error, SeqAccess, Visitor};

use crate::field::Invalid;

/// The field that a command line gives.
const FIELD: &str = "command";

/// The words of a command line.
///
/// # Errors
/// Where a quote does not close.
pub fn words(line: &str) -> Result<Vec<String>, Invalid> {
    shell_words::split(line).map_err(|_| Invalid::new(FIELD, format!("`{FIELD}`: a quote does not close: {line}")))
}

/// The words of a command line that names a program.
///
/// # Errors
/// Where a quote does not close, or there is no first word.
pub fn program(line: &str) -> Result<Vec<String>, Invalid> {
    let words = words(line)?;
    if words.first().is_none_or(String::is_empty) {
        let why = format!("`{FIELD}`: it names no program; leave it out to start what the image says");
        return Err(Invalid::new(FIELD, why));
    }
    Ok(words)
}

/// The line that has these words.
#[must_use]
pub fn line(words: &[String]) -> String {
    shell_words::join(words)
}

/// Reads what a user has written: a line, or the list of its words.
pub(crate) fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Written;

    impl<'de> Visitor<'de> for Written {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a command line, or a list of its words")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            program(text).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(Written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f10_words_are_a_shell_s() {
        for (text, wanted) in [
            ("/bin/sh -c \"echo hello world\"", &["/bin/sh", "-c", "echo hello world"][..]),
            ("/bin/sh -c 'echo \"a  b\" $HOME'", &["/bin/sh", "-c", "echo \"a  b\" $HOME"]),
            ("  /app/run\t--fast \n", &["/app/run", "--fast"]),
            (r"/app/my\ program --name=''", &["/app/my program", "--name="]),
            ("a '' b", &["a", "", "b"]),
            ("a\"b c\"'d e'f", &["ab cd ef"]),
            (r#""\"q\"" 'it'\''s' "x\y""#, &["\"q\"", "it's", r"x\y"]),
            ("grün '猫 犬'", &["grün", "猫 犬"]),
            ("", &[]),
        ] {
            assert_eq!(words(text).unwrap(), wanted, "{text}");
        }
        for open in ["'a", "a \"b c", "/bin/sh -c \"echo 'hi'", "a 'b\\''"] {
            let refused = words(open).unwrap_err();
            assert_eq!(refused.field.as_str(), "command");
            assert!(refused.why.contains("quote does not close"), "{open}: {refused}");
        }
    }

    #[test]
    fn a_line_without_a_program_is_refused() {
        assert_eq!(program("/app/run ''").unwrap(), ["/app/run", ""]);
        for empty in ["", " \t\n", "''", "\"\" /app/run"] {
            let refused = program(empty).unwrap_err();
            assert_eq!(refused.field.as_str(), "command");
            assert!(refused.why.contains("names no program; leave it out"), "{empty:?}: {refused}");
        }
    }

    #[test]
    fn f10_a_line_has_the_same_words_again() {
        let words_of = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(line(&words_of(&["/bin/sh", "-c", "echo hi"])), "/bin/sh -c 'echo hi'");
        for list in [&["a", "", "it's", "\"", "\\", "a\nb", "#x", "$y", "*", "~"][..], &[]] {
            assert_eq!(words(&line(&words_of(list))).unwrap(), list);
        }
    }
}
