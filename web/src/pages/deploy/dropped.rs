//! What a dropped file is, by its name and its first bytes. The node that prepares it has the last word.

use protocol::{ArtifactForm, Base};
use wasm_bindgen_futures::JsFuture;
use web_sys::File;
use web_sys::js_sys::Uint8Array;

/// Bytes that are looked at: enough for tar's mark.
const HEAD_BYTES: usize = 1024;
/// Where a tar archive says that it is one.
const TAR_MARK_AT: usize = 257;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// A WebAssembly component.
    Component,
    /// A WebAssembly module.
    Module,
    /// An ELF file, and the machine that it is for where that is known.
    Executable(Option<&'static str>),
    /// A tar archive, plain or packed: an image or files.
    Archive,
    /// A text that names its interpreter.
    Script(String),
    /// A text that a base gives a meaning.
    Text(Option<Base>),
    /// It has no bytes.
    Empty,
    /// None of these.
    Unknown,
}

/// Looks at the beginning of `file`.
pub(crate) async fn look(file: &File) -> Dropped {
    let head = match file.slice_with_i32_and_i32(0, i32::try_from(HEAD_BYTES).unwrap_or(i32::MAX)) {
        Ok(head) => JsFuture::from(head.array_buffer()).await.map(|bytes| Uint8Array::new(&bytes).to_vec()),
        Err(error) => Err(error),
    };
    head.map_or(Dropped::Unknown, |head| recognise(&file.name(), &head))
}

fn recognise(name: &str, head: &[u8]) -> Dropped {
    let name = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    match head {
        [] => Dropped::Empty,
        [0, b'a', b's', b'm', _, _, 1, _, ..] => Dropped::Component,
        [0, b'a', b's', b'm', ..] => Dropped::Module,
        [0x7f, b'E', b'L', b'F', ..] => Dropped::Executable(machine(head)),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Dropped::Archive,
        [b'#', b'!', ..] => Dropped::Script(interpreter(head)),
        _ if head.get(TAR_MARK_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) => Dropped::Archive,
        _ if head.contains(&0) => {
            if ends(&[".tar"]) {
                Dropped::Archive
            } else {
                Dropped::Unknown
            }
        }
        _ if ends(&[".py"]) => Dropped::Text(Some(Base::Python)),
        _ if ends(&[".sh"]) => Dropped::Text(Some(Base::Shell)),
        _ => Dropped::Text(None),
    }
}

/// The machine that an ELF file is for.
fn machine(head: &[u8]) -> Option<&'static str> {
    match (head.get(18)?, head.get(19)?) {
        (62, 0) => Some("x86-64"),
        (183, 0) => Some("aarch64"),
        _ => None,
    }
}

/// The program that a first line names; what `env` looks for, where it is `env`.
fn interpreter(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(2..).unwrap_or_default()).into_owned();
    let mut words = line.split_whitespace().filter(|word| !word.starts_with('-'));
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    match words.next().map(name) {
        Some(env) if env == "env" => words.next().map_or(env, name),
        other => other.unwrap_or_default(),
    }
}

impl Dropped {
    /// What it is to the lanes; none where that is open.
    pub(crate) fn form(&self) -> Option<ArtifactForm> {
        match self {
            Self::Component | Self::Module => Some(ArtifactForm::Wasm),
            Self::Executable(_) | Self::Archive | Self::Script(_) | Self::Text(_) => Some(ArtifactForm::Image),
            Self::Empty | Self::Unknown => None,
        }
    }

    /// The base that it needs named.
    pub(crate) fn base(&self) -> Option<Base> {
        if let Self::Text(base) = self { *base } else { None }
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Component => "A WebAssembly component.".to_owned(),
            Self::Module => "A WebAssembly module: a WASI command.".to_owned(),
            Self::Executable(Some(machine)) => format!("A Linux executable for {machine}."),
            Self::Executable(None) => "A Linux executable.".to_owned(),
            Self::Archive => "An archive: an OCI image, or files.".to_owned(),
            Self::Script(interpreter) if interpreter.is_empty() => "A script.".to_owned(),
            Self::Script(interpreter) => format!("A script for {interpreter}."),
            Self::Text(Some(Base::Python)) => "A Python handler.".to_owned(),
            Self::Text(Some(Base::Shell)) => "A shell script.".to_owned(),
            Self::Text(None) => "A text. Choose the base that runs it.".to_owned(),
            Self::Empty => "It is empty.".to_owned(),
            Self::Unknown => "Not recognised here; the platform checks it when you deploy.".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dropped, recognise};
    use protocol::{ArtifactForm, Base};

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = vec![0_u8; 64];
        head[..4].copy_from_slice(b"\x7fELF");
        head[18] = machine;
        head
    }

    #[test]
    fn files_are_known_by_what_is_in_them() {
        let mut tar = vec![0_u8; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let cases: [(&str, &[u8], Dropped); 14] = [
            ("a.wasm", b"\0asm\x01\0\0\0", Dropped::Module),
            ("a.wasm", b"\0asm\x0d\0\x01\0", Dropped::Component),
            ("tool", &elf(62), Dropped::Executable(Some("x86-64"))),
            ("tool.wasm", &elf(183), Dropped::Executable(Some("aarch64"))),
            ("tool", &elf(8), Dropped::Executable(None)),
            ("image", &tar, Dropped::Archive),
            ("image.tgz", b"\x1f\x8b\x08\0", Dropped::Archive),
            ("run", b"#!/bin/sh\necho", Dropped::Script("sh".into())),
            ("run", b"#!/usr/bin/env -S python3\n", Dropped::Script("python3".into())),
            ("handler.py", b"import sys", Dropped::Text(Some(Base::Python))),
            ("Run.SH", b"echo", Dropped::Text(Some(Base::Shell))),
            ("words", b"echo", Dropped::Text(None)),
            ("words", b"", Dropped::Empty),
            ("photo.jpg", b"\xff\xd8\0\0", Dropped::Unknown),
        ];
        for (name, head, expected) in cases {
            assert_eq!(recognise(name, head), expected, "{name}");
        }
    }

    #[test]
    fn only_webassembly_is_for_the_wasm_lane() {
        assert_eq!(Dropped::Component.form(), Some(ArtifactForm::Wasm));
        assert_eq!(Dropped::Archive.form(), Some(ArtifactForm::Image));
        assert_eq!(Dropped::Unknown.form(), None);
    }
}
