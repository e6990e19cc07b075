//! ETags and `If-Match`: who changes a thing that another has changed in between is told so (412).

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
    }
}
