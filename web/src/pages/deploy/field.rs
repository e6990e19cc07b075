//! Which field of a deployment a refusal is about, so that it stands beside it.

use protocol::limits::Limit;
use protocol::{Code, Limits};

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
    /// A limit.
    Limit(Limit),
    /// How it is spoken to.
    Kind,
    /// What it stands on.
    Base,
    /// What is started.
    Command,
}

/// The inputs of the API that the fields give, beside the limits.
const INPUTS: &[(&str, Field)] = &[
    ("artifact", Field::File),
    ("name", Field::Name),
    ("lane", Field::Lane),
    ("kind", Field::Kind),
    ("base", Field::Base),
    ("command", Field::Command),
];

/// The field that a trouble names.
pub(crate) fn field_of(trouble: &Trouble, dropped: Option<&Dropped>) -> Option<Field> {
    // An archive of files is told what to start.
    if trouble.code == Code::NoEntryPoint.as_str() && dropped == Some(&Dropped::Archive) {
        return Some(Field::Command);
    }
    let limit = Limits::ALL.into_iter().find(|limit| trouble.is_about(&[&limit.field()]));
    let input = || INPUTS.iter().find(|(input, _)| trouble.is_about(&[input])).map(|(_, field)| *field);
    limit.map(Field::Limit).or_else(input)
}

/// Nothing was chosen.
pub(crate) const NO_FILE: &str = "no_file";

#[cfg(test)]
mod tests {
    use super::{Dropped, Field, field_of};
    use crate::api::Trouble;
    use protocol::{Code, Limits, Millis, Problem};

    fn field(code: Code, input: &str) -> Option<Field> {
        field_of(&Trouble::from(Problem::of(code, input, "why")), Some(&Dropped::Archive))
    }

    #[test]
    fn refusals_stand_beside_their_fields() {
        assert_eq!(field(Code::NotWasm, "artifact"), Some(Field::File));
        assert_eq!(field(Code::NoEntryPoint, "artifact"), Some(Field::Command));
        let of_wasm = Trouble::from(Problem::of(Code::NoEntryPoint, "artifact", "no `_start`"));
        assert_eq!(field_of(&of_wasm, Some(&Dropped::Module)), Some(Field::File));
        assert_eq!(field(Code::NameTaken, "name"), Some(Field::Name));
        for limit in Limits::ALL {
            assert_eq!(field(Code::ExceedsNodes, &limit.field()), Some(Field::Limit(limit)));
        }
        assert_eq!(field(Code::NoNode, "lane"), Some(Field::Lane));
        assert_eq!(field(Code::InvalidField, "command[3]"), Some(Field::Command));
        assert_eq!(field(Code::InvalidField, "env.A"), None);
        assert_eq!(field_of(&Trouble::from(Problem::new(Code::Forbidden, "limits.memory")), None), None);
        let limits = Limits { timeout: Millis(1), ..Limits::default() };
        let of_check = field_of(&limits.check().unwrap_err().into(), None);
        assert!(matches!(of_check, Some(Field::Limit(limit)) if limit.name == "timeout"), "{of_check:?}");
    }
}
