//! Failures as people and programs see them: `error[code]`, why, help, and the exit status of CONTRACT.

use protocol::receipt::Outcome;
use protocol::{Code, Field, Invalid, Problem};
use serde::Serialize;

use crate::output::say;
use crate::visible;

/// What a command failed with.
#[derive(Debug)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Debug, Serialize)]
struct Inner {
    code: String,
    title: String,
    detail: String,
    help: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "type")]
    type_uri: String,
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Field>,
    #[serde(skip)]
    exit: Exit,
    /// The answer has been shown already.
    #[serde(skip)]
    silent: bool,
}

/// Exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Whoever read the output has closed it: there is nothing to say, and nobody to say it to.
    ReaderGone = 0,
    Function = 1,
    Usage = 2,
    Authentication = 3,
    NotFound = 4,
    Conflict = 5,
    Limit = 6,
    Platform = 7,
    Timeout = 8,
    Interrupted = 130,
}

impl Exit {
    /// The status that goes with a code of the catalogue.
    pub(crate) fn of(code: Code) -> Self {
        match code {
            _ if Outcome::of(code) == Outcome::Failed => Self::Function,
            Code::TimedOut | Code::RequestTimeout => Self::Timeout,
            Code::LimitReached | Code::StorageFull => Self::Limit,
            _ => match code.status() {
                401 | 403 => Self::Authentication,
                404 => Self::NotFound,
                409 | 412 | 428 => Self::Conflict,
                413 | 429 => Self::Limit,
                400..=499 => Self::Usage,
                _ => Self::Platform,
            },
        }
    }
}

impl Failure {
    /// A failure of this machine's side: `error[code]: what`.
    pub(crate) fn new(exit: Exit, code: &str, what: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code: code.to_owned(),
            title: what.into(),
            detail: String::new(),
            help: String::new(),
            status: None,
            type_uri: format!("/docs/errors#{code}"),
            retry: false,
            instance: None,
            field: None,
            exit,
            silent: false,
        }))
    }

    /// Wrong use of the command line.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", what)
    }

    /// The same, and why.
    pub(crate) fn why(mut self, why: impl std::fmt::Display) -> Self {
        self.0.detail = why.to_string();
        self
    }

    /// The same, and what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = help.into();
        self
    }

    /// The same, about this input.
    pub(crate) fn at(mut self, field: impl Into<Field>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The input that it is about.
    pub(crate) fn field(&self) -> Option<&Field> {
        self.0.field.as_ref()
    }

    /// Ends with this status and says nothing more.
    pub(crate) fn silent(exit: Exit) -> Self {
        let mut failure = Self::new(exit, "failed", "");
        failure.0.silent = true;
        failure
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        self.0.exit
    }

    /// What happened, and why, on one line.
    pub(crate) fn what(&self) -> String {
        let inner = &self.0;
        if inner.detail.is_empty() { inner.title.clone() } else { format!("{}: {}", inner.title, inner.detail) }
    }

    /// What to do.
    pub(crate) fn remedy(&self) -> &str {
        &self.0.help
    }

    /// Whether it is this code of the catalogue.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.0.code == code.as_str()
    }

    /// Whether the platform has said it, and not this machine.
    pub(crate) fn is_platforms(&self) -> bool {
        self.0.status.is_some()
    }

    /// Shows it on standard error; `flag` gave the field that it is about.
    pub(crate) fn show(&self, json: bool, color: bool, flag: Option<&str>) {
        let inner = &self.0;
        if inner.silent {
            return;
        }
        if json {
            say(&visible::json(serde_json::to_string(inner).unwrap_or_default()));
            return;
        }
        let (red, cyan, bold, reset) =
            if color { ("\x1b[1;31m", "\x1b[36m", "\x1b[1m", "\x1b[0m") } else { ("", "", "", "") };
        let (code, title) = (visible::line(&inner.code), visible::line(&inner.title));
        say(&format!("{red}error[{code}]{reset}{bold}: {title}{reset}"));
        if let Some(field) = &inner.field {
            let flag = flag.map(|flag| format!(" ({flag})")).unwrap_or_default();
            say(&format!("{cyan}field:{reset} {}{flag}", visible::line(field.as_str())));
        }
        if !inner.detail.is_empty() && inner.detail != inner.title {
            for line in inner.detail.lines() {
                say(&format!("  {}", visible::lines(line)));
            }
        }
        if !inner.help.is_empty() {
            say(&format!("{cyan}help:{reset} {}", visible::lines(&inner.help)));
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Inner {
            code: problem.code.as_str().to_owned(),
            title: problem.title,
            detail: problem.detail,
            help: problem.help,
            status: Some(problem.status),
            type_uri: problem.type_uri,
            retry: problem.retry,
            instance: problem.instance,
            field: problem.field,
            exit: Exit::of(problem.code),
            silent: false,
        }))
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Platform, "io", "Reading or writing failed").why(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Platform, "failed", error.to_string())
            .why(error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_status_of_the_contract() {
        assert_eq!(Exit::of(Code::Trap), Exit::Function);
        assert_eq!(Exit::of(Code::InvalidKey), Exit::Authentication);
        assert_eq!(Exit::of(Code::FunctionNotFound), Exit::NotFound);
        assert_eq!(Exit::of(Code::NameTaken), Exit::Conflict);
        assert_eq!(Exit::of(Code::PreconditionFailed), Exit::Conflict);
        assert_eq!(Exit::of(Code::PreconditionRequired), Exit::Conflict);
        assert_eq!(Exit::of(Code::BodyTooLarge), Exit::Limit);
        assert_eq!(Exit::of(Code::RateLimited), Exit::Limit);
        assert_eq!(Exit::of(Code::NoNode), Exit::Platform);
        assert_eq!(Exit::of(Code::TimedOut), Exit::Timeout);
        assert_eq!(Exit::of(Code::InvalidField), Exit::Usage);
    }
}
