//! A single file that is a whole function: an executable, or a script for a base's interpreter.

use crate::bases::BaseId;
use crate::elf;
use crate::error::Error;
use crate::image::{Architecture, InputKind};
use crate::source::Stores;

const EXECUTABLE_PATH: &str = "/app/function";
const PYTHON_PATH: &str = "/app/handler.py";
const SHELL_PATH: &str = "/app/handler.sh";
const INTERPRETER_LINE: &[u8] = b"#!";

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Single {
    Executable,
    /// A script that names its interpreter.
    Script {
        interpreter: String,
    },
    /// A text that only a base gives a meaning.
    Text(BaseId),
}

/// Where the file goes, and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) kind: InputKind,
    pub(crate) path: &'static str,
    pub(crate) argv: Vec<String>,
    pub(crate) base: Option<BaseId>,
}

/// Says what a file is, from how it begins.
pub(crate) fn recognise(head: &[u8], base: Option<BaseId>) -> Result<Single, Error> {
    if head.starts_with(elf::MAGIC) {
        return Ok(Single::Executable);
    }
    if let Some(line) = interpreter_line(head) {
        let interpreter = interpreter(&line).ok_or_else(|| {
            Error::MissingEntryPoint("the script's first line names no interpreter after `#!`".to_owned())
        })?;
        return Ok(Single::Script { interpreter });
    }
    let what = match head {
        [] => "it is empty",
        [0, b'a', b's', b'm', ..] => "it is WebAssembly, which the wasm lane runs",
        _ if head.contains(&0) => "it is no tar archive, Linux executable or script",
        _ => match base {
            Some(base) => return Ok(Single::Text(base)),
            None => "it is a text without `#!` in its first line, and no base is named",
        },
    };
    Err(Error::Unsupported(what.to_owned()))
}

/// The words of a first line that begins with `#!`.
pub(crate) fn interpreter_line(head: &[u8]) -> Option<Vec<String>> {
    let line = head.strip_prefix(INTERPRETER_LINE)?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    // A carriage return would be part of the interpreter's name; spaces and tabs part words.
    Some(line.split([' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

/// The program that runs a script: what `env` looks for, where it is `env`.
fn interpreter(words: &[String]) -> Option<String> {
    let mut words = words.iter().filter(|word| !word.starts_with('-'));
    let first = words.next()?;
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    if name(first) == "env" { words.next().map(|word| name(word)) } else { Some(name(first)) }
}

impl Single {
    /// Finds the base and the place of the file.
    pub(crate) fn place(
        self,
        stores: &Stores,
        base: Option<BaseId>,
        architecture: Architecture,
    ) -> Result<Placed, Error> {
        Ok(match self {
            Self::Executable => {
                let needs = elf::inspect(stores.read(stores.whole()), architecture)?;
                // What is dynamic needs a loader and the common libraries.
                let base = base.or(needs.loader.is_some().then_some(BaseId::Shell));
                Placed {
                    kind: InputKind::Executable,
                    path: EXECUTABLE_PATH,
                    argv: vec![EXECUTABLE_PATH.to_owned()],
                    base,
                }
            }
            Self::Script { interpreter } => {
                let base = base.unwrap_or_else(|| BaseId::of_interpreter(&interpreter));
                let path = path_on(base);
                Placed { kind: InputKind::Script, path, argv: vec![path.to_owned()], base: Some(base) }
            }
            Self::Text(base) => {
                let path = path_on(base);
                let argv = vec![base.interpreter().to_owned(), path.to_owned()];
                Placed { kind: InputKind::Script, path, argv, base: Some(base) }
            }
        })
    }
}

fn path_on(base: BaseId) -> &'static str {
    match base {
        BaseId::Python => PYTHON_PATH,
        BaseId::Shell => SHELL_PATH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_interpreter() {
        let name = |text: &str| interpreter(&interpreter_line(text.as_bytes()).unwrap());
        assert_eq!(name("#!/bin/sh\necho"), Some("sh".to_owned()));
        assert_eq!(name("#! /usr/bin/env python3 -u\n"), Some("python3".to_owned()));
        assert_eq!(name("#!/usr/bin/env -S bash -e"), Some("bash".to_owned()));
        assert_eq!(name("#!\n"), None);
        assert_eq!(interpreter_line(b"echo #!/bin/sh"), None);
    }

    #[test]
    fn what_cannot_start_is_refused_by_name() {
        let refused = |head: &[u8]| match recognise(head, None) {
            Err(Error::Unsupported(detail)) => detail,
            other => panic!("{other:?}"),
        };
        assert!(refused(b"").contains("empty"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("WebAssembly"));
        assert!(refused(b"\x89PNG\0").contains("no tar archive"));
        assert!(refused(b"print(1)\n").contains("no base"));
        assert_eq!(recognise(b"print(1)\n", Some(BaseId::Python)).unwrap(), Single::Text(BaseId::Python));
        assert!(matches!(recognise(b"#!\n", None), Err(Error::MissingEntryPoint(_))));
    }
}
