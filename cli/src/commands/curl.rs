//! The curl that `deploy` prints: it works as pasted.

use std::path::Path;

use protocol::Example;

/// A call that can be pasted into a shell.
pub(super) struct Curl<'a> {
    /// The function's URL, without a slash at its end.
    pub(super) url: &'a str,
    /// A key that may call it; none where it is public.
    pub(super) key: Option<&'a str>,
    /// The certificates that are believed beside those of public authorities.
    pub(super) ca_file: Option<&'a Path>,
    /// What the manifest shows.
    pub(super) example: Option<&'a Example>,
}

impl Curl<'_> {
    /// The command line.
    pub(super) fn command(&self) -> String {
        let mut parts = vec!["curl".to_owned()];
        parts.extend(self.ca_file.map(|file| format!("--cacert {}", quoted(&file.to_string_lossy()))));
        if let Some(key) = self.key {
            parts.push(format!("-H \"Authorization: Bearer {key}\""));
        }
        let example = self.example.cloned().unwrap_or_default();
        if let Some(method) = &example.method {
            parts.push(format!("-X {}", quoted(method)));
        }
        if let Some(body) = &example.body {
            parts.push(format!("--data-binary {}", quoted(body)));
        }
        if example.path.split(['/', '?']).any(|segment| matches!(segment, "." | "..")) {
            parts.push("--path-as-is".to_owned());
        }
        parts.push(quoted(&format!("{}{}", self.url, example.path)));
        if let Some(output) = &example.output {
            parts.push(format!("-o {}", quoted(output)));
        }
        parts.join(" ")
    }
}

/// For a POSIX shell; plain words stay as they are.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbnail_s_is_as_in_the_readme() {
        let example = Example {
            path: "?width=320".to_owned(),
            body: Some("@photo.jpg".to_owned()),
            output: Some("small.jpg".to_owned()),
            method: None,
        };
        let url = "http://127.0.0.1:8080/f/ada/thumbs";
        let curl = Curl { url, key: Some("cck_1_2"), ca_file: None, example: Some(&example) };
        assert_eq!(
            curl.command(),
            "curl -H \"Authorization: Bearer cck_1_2\" --data-binary @photo.jpg \
             'http://127.0.0.1:8080/f/ada/thumbs?width=320' -o small.jpg"
        );
    }

    #[test]
    fn a_platform_s_own_certificate_is_named() {
        let file = Path::new("/home/a b/ca.pem");
        let curl = Curl { url: "https://one.example/f/ada/x", key: None, ca_file: Some(file), example: None };
        assert_eq!(curl.command(), "curl --cacert '/home/a b/ca.pem' 'https://one.example/f/ada/x'");
    }

    #[test]
    fn quotes_survive_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
