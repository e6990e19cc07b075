//! ETags and `If-Match`: who changes a thing that another has changed in between is told so (412), and where a change
//! replaces all that others asked for, it has to be said what was seen (428).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use protocol::Code;

use crate::error::{Result, refuse};

/// The ETag of a revision.
pub(crate) fn of(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// The request's condition, where it has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// Refuses where the thing is not as the asker believes. `None`: it does not exist.
    pub(crate) fn check(&self, current: Option<&str>) -> Result<()> {
        let Some(asked) = &self.0 else { return Ok(()) };
        let fits = |tag: &str| tag == "*" || current == Some(tag);
        if current.is_some() && asked.split(',').any(|tag| fits(tag.trim())) {
            return Ok(());
        }
        Err(refuse(
            Code::PreconditionFailed,
            format!("Its ETag is now {}.", current.unwrap_or("none: it is not there")),
        ))
    }

    /// The same of a thing that each change replaces whole: who does not say which one they have seen is refused. `*` says
    /// that any will do.
    pub(crate) fn require(&self, current: &str) -> Result<()> {
        match &self.0 {
            Some(_) => self.check(Some(current)),
            None => Err(refuse(Code::PreconditionRequired, format!("Its ETag is now {current}."))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let values = parts.headers.get_all(header::IF_MATCH).iter();
        let texts: Vec<_> = values.map(|value| value.to_str().unwrap_or("unreadable")).collect();
        Ok(Self((!texts.is_empty()).then(|| texts.join(","))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let asked = |text: &str| IfMatch(Some(text.to_owned()));
        assert!(IfMatch(None).check(None).is_ok());
        assert!(asked("*").check(Some("\"1\"")).is_ok());
        assert!(asked("*").check(None).is_err());
        assert!(asked("\"1\", \"2\"").check(Some("\"2\"")).is_ok());
        assert!(asked("\"1\"").check(Some("\"2\"")).is_err());
        assert!(asked("*").require("\"1\"").is_ok() && asked("\"1\"").require("\"1\"").is_ok());
        assert!(asked("\"1\"").require("\"2\"").is_err() && IfMatch(None).require("\"1\"").is_err());
    }
}
