//! Which field of a job or a trigger a refusal is about, so that it stands beside it.

use protocol::Code;

use crate::api::Trouble;

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The function and its version.
    Function,
    /// Method, path and headers.
    Request,
    /// The input.
    Input,
    /// CPUs.
    Cpus,
    /// Memory.
    Memory,
    /// The time limit.
    Timeout,
    /// What no node has.
    Room,
    /// How often it is tried again.
    Retries,
    /// The pause before.
    Backoff,
    /// Its place among the account's jobs.
    Priority,
    /// When it may begin.
    NotBefore,
    /// Labels.
    Labels,
    /// Where its end is told.
    Webhook,
    /// A trigger's name.
    Name,
    /// When a trigger is due.
    Cron,
    /// In which time zone.
    Zone,
    /// Of which queue.
    Queue,
}

/// How the API begins what it says of a field.
const BEGINNINGS: &[(&str, Field)] = &[
    ("`function`", Field::Function),
    ("method:", Field::Request),
    ("path:", Field::Request),
    ("headers:", Field::Request),
    ("input:", Field::Input),
    ("inputs:", Field::Input),
    ("cpus ", Field::Cpus),
    ("memory ", Field::Memory),
    ("timeout ", Field::Timeout),
    ("retries ", Field::Retries),
    ("backoff ", Field::Backoff),
    ("priority ", Field::Priority),
    ("not_before ", Field::NotBefore),
    ("labels:", Field::Labels),
    ("webhook:", Field::Webhook),
    ("cron:", Field::Cron),
    ("zone:", Field::Zone),
    ("queue:", Field::Queue),
];

/// The field that a trouble names.
pub(crate) fn field_of(trouble: &Trouble) -> Option<Field> {
    let is = |codes: &[Code]| codes.iter().any(|code| code.as_str() == trouble.code);
    if is(&[Code::FunctionNotFound, Code::VersionNotFound, Code::NotReady]) {
        Some(Field::Function)
    } else if is(&[Code::ExceedsNodes, Code::NoNode]) {
        Some(Field::Room)
    } else if is(&[Code::BodyTooLarge, Code::ArtifactNotFound]) {
        Some(Field::Input)
    } else if is(&[Code::InvalidName, Code::NameTaken]) {
        Some(Field::Name)
    } else if is(&[Code::InvalidField]) {
        BEGINNINGS.iter().find(|(beginning, _)| trouble.cause.starts_with(beginning)).map(|(_, field)| *field)
    } else {
        None
    }
}

/// A value of a field that the page itself cannot take.
pub(crate) fn wrong(cause: impl Into<String>, fix: &str) -> Trouble {
    Trouble::here(Code::InvalidField.as_str(), cause, fix)
}

#[cfg(test)]
mod tests {
    use super::{Field, field_of, wrong};
    use crate::api::Trouble;
    use protocol::job::Asked;
    use protocol::{Code, Problem};

    fn field(code: Code, detail: &str) -> Option<Field> {
        field_of(&Trouble::from(Problem::new(code, detail)))
    }

    #[test]
    fn refusals_stand_beside_their_fields() {
        let refused = Asked::Value(65).within("cpus", 1, 64).unwrap_err();
        assert_eq!(field(Code::InvalidField, &format!("{refused}.")), Some(Field::Cpus));
        assert_eq!(
            field(Code::InvalidField, "not_before is 2001-01-01T00:00:00Z, which is past"),
            Some(Field::NotBefore)
        );
        assert_eq!(field(Code::InvalidField, "webhook: it goes to a private address."), Some(Field::Webhook));
        assert_eq!(field(Code::InvalidField, "cron: five fields"), Some(Field::Cron));
        assert_eq!(field(Code::FunctionNotFound, "The account has no function `a`."), Some(Field::Function));
        assert_eq!(field(Code::ExceedsNodes, "at most 2 CPUs"), Some(Field::Room));
        assert_eq!(field(Code::BodyTooLarge, "input: too long"), Some(Field::Input));
        assert_eq!(field(Code::LimitReached, "cpus "), None);
        assert_eq!(field_of(&wrong("labels: none", "")), Some(Field::Labels));
    }
}
