//! Reads `crowdcloud.toml`. An unknown key is an error that suggests the one that was meant.

use std::path::{Path, PathBuf};

use protocol::{Field, Invalid, Limits, Manifest};

use crate::failure::{Exit, Failure};

/// The file's name.
pub(crate) const FILE: &str = "crowdcloud.toml";

/// Keys at the top, and in `[example]`.
const KEYS: [&str; 15] = [
    "name",
    "kind",
    "artifact",
    "build",
    "lane",
    "base",
    "command",
    "public",
    "placement",
    "egress",
    "limits",
    "env",
    "example",
    "account",
    "url",
];
const EXAMPLE: [&str; 4] = ["method", "path", "body", "output"];

/// A manifest and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// The folder that its paths are relative to.
    pub(crate) dir: PathBuf,
    /// What it says.
    pub(crate) manifest: Manifest,
    /// It says `public` itself: deploying sets it.
    pub(crate) says_public: bool,
}

impl Project {
    /// The manifest of this folder.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Failure::new(
                    Exit::Usage,
                    "no_manifest",
                    format!("There is no {FILE} in {}", dir.display()),
                )
                .why("a function's folder has one; a single artifact is deployed by its file")
                .help(
                    "`crowdcloud new NAME` makes a folder, `crowdcloud deploy FILE.wasm --name NAME` deploys a file",
                ));
            }
            Err(error) => {
                return Err(
                    Failure::new(Exit::Usage, "manifest", format!("{} cannot be read", path.display())).why(error)
                );
            }
        };
        let (manifest, says_public) = parse(&text).map_err(|failure| failure.in_file(&path))?;
        Ok(Self { dir: dir.to_owned(), manifest, says_public })
    }

    /// The manifest of the current folder, where there is a valid one: for defaults.
    pub(crate) fn here() -> Option<Self> {
        Self::open(Path::new(".")).ok()
    }

    /// The built file.
    pub(crate) fn artifact(&self) -> PathBuf {
        self.dir.join(&self.manifest.artifact)
    }
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    field: Option<Field>,
    what: String,
    help: String,
}

impl Refused {
    fn in_file(self, path: &Path) -> Failure {
        let mut failure =
            Failure::new(Exit::Usage, "manifest", format!("{} is not valid", path.display())).why(self.what);
        if let Some(field) = self.field {
            failure = failure.at(field);
        }
        if self.help.is_empty() { failure } else { failure.help(self.help) }
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self { field: Some(invalid.field), what: invalid.why, help: String::new() }
    }
}

fn parse(text: &str) -> Result<(Manifest, bool), Refused> {
    let refused = |what: String| Refused { field: None, what: what.trim_end().to_owned(), help: String::new() };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| refused(error.to_string()))?;
    check_keys(&table, "", &KEYS)?;
    for (name, known) in [("limits", &limits()[..]), ("example", &EXAMPLE[..])] {
        if let Some(toml::Value::Table(inner)) = table.get(name) {
            check_keys(inner, &format!("{name}."), known)?;
        }
    }
    let says_public = table.contains_key("public");
    let document = toml::Deserializer::parse(text).map_err(|error| refused(error.to_string()))?;
    let manifest: Manifest = serde_path_to_error::deserialize(document).map_err(|error| {
        let field = Some(protocol::body::place(error.path(), error.inner().message()))
            .filter(|field| field.as_str() != Field::BODY);
        Refused { field, ..refused(error.inner().to_string()) }
    })?;
    manifest.limits.check()?;
    Ok((manifest, says_public))
}

/// Keys in `[limits]`.
fn limits() -> Vec<&'static str> {
    Limits::ALL.iter().map(|limit| limit.name).collect()
}

fn check_keys(table: &toml::Table, prefix: &str, known: &[&str]) -> Result<(), Refused> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let elsewhere = prefix.is_empty() && limits().contains(&key.as_str());
    let help = if elsewhere {
        format!("did you mean `{key}` in [limits]?")
    } else if let Some(near) = nearest(key, known) {
        format!("did you mean `{prefix}{near}`?")
    } else {
        format!("known keys: {}", known.join(", "))
    };
    let field = format!("{prefix}{key}");
    Err(Refused { what: format!("unknown key `{field}`"), field: Some(field.into()), help })
}

/// The known word that needs the fewest edits, if they are few.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    (best.0 <= 1 + word.len() / 3).then_some(best.1)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_s_example_is_read() {
        let (manifest, says_public) = parse(
            "name = 'thumbs'\nkind = 'http'\nartifact = 'dist/thumbs.wasm'\nlane = 'auto'\npublic = false\n\
             placement = 'any'\negress = []\n[limits]\nmemory = '128MiB'\ntimeout = '30s'\nbody = '32MiB'\n\
             concurrency = 50\n[env]\nA = 'b'\n[example]\npath = '/?width=320'\nbody = '@photo.jpg'\n",
        )
        .unwrap();
        assert!(says_public);
        assert_eq!(manifest.limits.memory, protocol::ByteSize::mib(128));
        assert_eq!(manifest.example.unwrap().body.as_deref(), Some("@photo.jpg"));
    }

    #[test]
    fn f10_a_command_is_a_line_or_its_words() {
        let command = |text: &str| parse(&format!("name = 'x1'\nartifact = 'a'\ncommand = {text}")).unwrap().0.command;
        assert_eq!(command(r#"'/bin/sh -c "echo hello world"'"#), ["/bin/sh", "-c", "echo hello world"]);
        assert_eq!(command("['/bin/sh', '-c', 'echo hello world']"), ["/bin/sh", "-c", "echo hello world"]);
        assert_eq!(command("'/app/run  --fast'"), ["/app/run", "--fast"]);
    }

    #[test]
    fn an_unknown_key_brings_the_one_that_was_meant() {
        let refused = |text: &str| parse(text).unwrap_err();
        assert_eq!(refused("name = 'x1'\nartefact = 'a'").help, "did you mean `artifact`?");
        assert_eq!(refused("[limits]\nmemmory = '1MiB'").help, "did you mean `limits.memory`?");
        assert_eq!(refused("timeout = '3s'").help, "did you mean `timeout` in [limits]?");
        assert!(refused("zzzzzzzz = 1").help.starts_with("known keys: name"));
    }

    #[test]
    fn limits_out_of_range_are_named() {
        let refused = parse("name = 'x1'\nartifact = 'a'\n[limits]\nmemory = '9TiB'").unwrap_err();
        assert!(refused.what.contains("limits.memory"), "{}", refused.what);
        assert_eq!(refused.field.unwrap().as_str(), "limits.memory");
    }

    #[test]
    fn each_refusal_names_its_key() {
        let whole = "name = 'x1'\nartifact = 'a'\n";
        for (text, key) in [
            ("artifact = 'a'", "name"),
            ("name = 'x1'", "artifact"),
            ("name = '-'\nartifact = 'a'", "name"),
            (&format!("{whole}lane = 'rocket'"), "lane"),
            (&format!("{whole}command = ['a', 1]"), "command[1]"),
            (&format!("{whole}command = 'a \"b'"), "command"),
            (&format!("{whole}command = 1"), "command"),
            (&format!("{whole}command = ''"), "command"),
            (&format!("{whole}[limits]\ncpus = 'two'"), "limits.cpus"),
            (&format!("{whole}[limits]\ntimeout = true"), "limits.timeout"),
            (&format!("{whole}[limits]\ncolour = 1"), "limits.colour"),
            (&format!("{whole}[env]\nA = 1"), "env.A"),
        ] {
            let refused = parse(text).unwrap_err();
            assert_eq!(refused.field.as_ref().map(Field::as_str), Some(key), "{text}: {refused:?}");
        }
    }
}
