//! Which field of a deployment a refusal is about, so that it stands beside it.

use protocol::Code;

use super::dropped::Dropped;
use crate::api::Trouble;

/// A field of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The file.
    File,
    /// The function's name.
    Name,
    /// The lane.
    Lane,
    /// CPUs.
    Cpus,
    /// Memory.
    Memory,
    /// The time limit.
    Timeout,
    /// CPUs and memory together.
    Room,
    /// How it is spoken to.
    Kind,
    /// What it stands on.
    Base,
    /// What is started.
    Command,
}

/// What is wrong with the file itself.
const OF_FILE: &[Code] = &[
    Code::NotWasm,
    Code::InvalidWasm,
    Code::WrongWorld,
    Code::UnknownImport,
    Code::CompileFailed,
    Code::CompileLimit,
    Code::ImageInvalid,
    Code::ImageTooLarge,
    Code::WrongArchitecture,
    Code::ArtifactTooLarge,
    Code::NoEntryPoint,
];

/// How the API begins what it says of a field.
const BEGINNINGS: &[(&str, Field)] = &[
    ("limits.cpus", Field::Cpus),
    ("limits.memory", Field::Memory),
    ("limits.timeout", Field::Timeout),
    ("`lane`", Field::Lane),
    ("`kind`", Field::Kind),
    ("`base`", Field::Base),
    ("`command`", Field::Command),
];

/// The field that a trouble names.
pub(crate) fn field_of(trouble: &Trouble, dropped: Option<&Dropped>) -> Option<Field> {
    let is = |codes: &[Code]| codes.iter().any(|code| code.as_str() == trouble.code);
    if is(&[Code::NoEntryPoint]) && dropped == Some(&Dropped::Archive) {
        // An archive of files is told what to start.
        Some(Field::Command)
    } else if is(OF_FILE) || trouble.code == NO_FILE {
        Some(Field::File)
    } else if is(&[Code::NameTaken, Code::InvalidName]) {
        Some(Field::Name)
    } else if is(&[Code::ExceedsNodes]) {
        Some(Field::Room)
    } else if is(&[Code::NoNode]) {
        Some(Field::Lane)
    } else if is(&[Code::InvalidField]) {
        BEGINNINGS.iter().find(|(beginning, _)| trouble.cause.starts_with(beginning)).map(|(_, field)| *field)
    } else {
        None
    }
}

/// Nothing was chosen.
pub(crate) const NO_FILE: &str = "no_file";

#[cfg(test)]
mod tests {
    use super::{Dropped, Field, field_of};
    use crate::api::Trouble;
    use protocol::{Code, Limits, Millis, Problem};

    fn field(code: Code, detail: &str) -> Option<Field> {
        field_of(&Trouble::from(Problem::new(code, detail)), Some(&Dropped::Archive))
    }

    #[test]
    fn refusals_stand_beside_their_fields() {
        assert_eq!(field(Code::NotWasm, "it begins with #!"), Some(Field::File));
        assert_eq!(field(Code::NoEntryPoint, "neither an entrypoint nor a command"), Some(Field::Command));
        let of_wasm = Trouble::from(Problem::new(Code::NoEntryPoint, "no `_start`"));
        assert_eq!(field_of(&of_wasm, Some(&Dropped::Module)), Some(Field::File));
        assert_eq!(field(Code::NameTaken, "There is a function `a`."), Some(Field::Name));
        assert_eq!(field(Code::ExceedsNodes, "64 CPUs"), Some(Field::Room));
        assert_eq!(field(Code::InvalidField, "`command`: 900 words; at most 256."), Some(Field::Command));
        assert_eq!(field(Code::InvalidField, "`env`: 900 variables."), None);
        assert_eq!(field(Code::Forbidden, "limits.memory"), None);
        let limits = Limits { timeout: Millis(1), ..Limits::default() };
        assert_eq!(field(Code::InvalidField, &limits.check().unwrap_err()), Some(Field::Timeout));
    }
}
