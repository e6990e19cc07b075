//! Which field of a job or a trigger a refusal is about, so that it stands beside it.

use protocol::Limits;
use protocol::limits::Limit;

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
    /// A limit.
    Limit(Limit),
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

/// The inputs of the API that the fields give, beside the limits: of a job, or of a trigger around it.
const INPUTS: &[(&str, Field)] = &[
    ("function", Field::Function),
    ("reference", Field::Function),
    ("method", Field::Request),
    ("path", Field::Request),
    ("headers", Field::Request),
    ("input", Field::Input),
    ("inputs", Field::Input),
    ("retries", Field::Retries),
    ("backoff", Field::Backoff),
    ("priority", Field::Priority),
    ("not_before", Field::NotBefore),
    ("labels", Field::Labels),
    ("webhook", Field::Webhook),
    ("name", Field::Name),
    ("cron", Field::Cron),
    ("zone", Field::Zone),
    ("queue", Field::Queue),
];

/// The field that a trouble names.
pub(crate) fn field_of(trouble: &Trouble) -> Option<Field> {
    let input = trouble.field.as_ref()?.below("job");
    let limit = Limits::of_jobs().find(|limit| input.is_in(limit.name));
    limit.map(Field::Limit).or_else(|| INPUTS.iter().find(|(path, _)| input.is_in(path)).map(|(_, field)| *field))
}

/// A value of a field that the page itself cannot take.
pub(crate) fn wrong(input: &str, cause: impl Into<String>, fix: &str) -> Trouble {
    Trouble::of_input(input, cause, fix)
}

#[cfg(test)]
mod tests {
    use super::{Field, field_of, wrong};
    use crate::api::Trouble;
    use protocol::job::Asked;
    use protocol::{Code, Limits, Problem};

    fn field(code: Code, input: &str) -> Option<Field> {
        field_of(&Trouble::from(Problem::of(code, input, "why")))
    }

    #[test]
    fn refusals_stand_beside_their_fields() {
        let refused = Asked::Value(65).within("cpus", 1, 64).unwrap_err();
        let of_range = field_of(&refused.into());
        assert!(matches!(of_range, Some(Field::Limit(limit)) if limit.name == "cpus"), "{of_range:?}");
        for limit in Limits::of_jobs() {
            assert_eq!(field(Code::ExceedsNodes, limit.name), Some(Field::Limit(limit)));
        }
        for (input, wanted) in [
            ("not_before", Field::NotBefore),
            ("job.webhook", Field::Webhook),
            ("cron", Field::Cron),
            ("inputs[3].base64", Field::Input),
            ("headers[0][1]", Field::Request),
            ("job.labels", Field::Labels),
        ] {
            assert_eq!(field(Code::InvalidField, input), Some(wanted), "{input}");
        }
        assert_eq!(field(Code::FunctionNotFound, "function"), Some(Field::Function));
        assert_eq!(field(Code::BodyTooLarge, "input"), Some(Field::Input));
        assert_eq!(field_of(&Trouble::from(Problem::new(Code::LimitReached, "cpus "))), None);
        assert_eq!(field(Code::InvalidField, "colour"), None);
        assert_eq!(field_of(&wrong("labels", "none", "")), Some(Field::Labels));
    }
}
