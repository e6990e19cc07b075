//! Errors: a refusal becomes its problem document; what broke inside is logged and becomes a bare 500.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use protocol::{Code, Field, Invalid, Problem};
use sea_orm::DbErr;

/// The database's error where another process has the request now (`idempotency.rs`).
pub(crate) const TAKEN_OVER: &str = "the request was taken over by another process";

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be reached.
    #[error("cannot open the database: {0}")]
    Connect(#[source] DbErr),
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[source] DbErr),
    /// A later version of this program has written it.
    #[error(
        "the data was written by a newer version of crowdcloud (it has the migration {migration}): \
         start that version, or use another data folder"
    )]
    NewerSchema {
        /// The first migration that this program does not know.
        migration: String,
    },
    /// The first rows cannot be written.
    #[error("cannot prepare the database: {0}")]
    Prepare(#[from] DbErr),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The platform's root secret is not 32 bytes.
    #[error("{0}: not a root secret (32 bytes)")]
    TicketKey(std::path::PathBuf),
    /// The root secret has gone.
    #[error(
        "{0}: the root secret is not there, and other secrets follow from it: bring the file back, or \
         say with --ticket-key where it is. Where it is lost, and the master keys of the store are not, --ticket-key-new \
         (CROWDCLOUD_TICKET_KEY_NEW=true) makes another one"
    )]
    TicketKeyMissing(std::path::PathBuf),
    /// The root secret is not the one under which the keys in the database are sealed.
    #[error("{0}: the root secret of another platform: nothing that follows from it would be right")]
    TicketKeyOfAnother(std::path::PathBuf),
    /// The store is another platform's, or not what it was.
    #[error(transparent)]
    Store(#[from] store::ClaimError),
    /// The store's master keys cannot be read or made.
    #[error("{0}")]
    Keys(String),
    /// The services cannot be mounted.
    #[error(transparent)]
    Fabric(#[from] fabric::FabricError),
    /// The events cannot be subscribed to.
    #[error("cannot subscribe to events: {0}")]
    Subscribe(String),
    /// A service that it stands on was lost for good.
    #[error("{0}")]
    Lost(String),
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The asker's fault, or a known state of the platform.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// It was tried too often.
    #[error("too many {what}; wait {wait:?}")]
    TooOften {
        /// What.
        what: &'static str,
        /// Until it may be tried again.
        wait: Duration,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// Something that cannot be.
    #[error("{0}")]
    Internal(String),
}

/// What handlers and the parts below them return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal that is about no input.
pub(crate) fn refuse(code: Code, detail: impl Into<String>) -> Error {
    Problem::new(code, detail).into()
}

/// A refusal of this input.
pub(crate) fn refuse_field(code: Code, field: impl Into<Field>, detail: impl Into<String>) -> Error {
    Problem::of(code, field, detail).into()
}

/// A value that is not allowed; `why` without a full stop.
pub(crate) fn invalid(field: impl Into<Field>, why: impl Into<String>) -> Error {
    Invalid::new(field, why).into()
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl Error {
    /// The same, where what was looked up is named by this input: what is not there, or not as it must be.
    pub(crate) fn at(self, field: impl Into<Field>) -> Self {
        match self {
            Self::Refused(problem) if matches!(problem.status, 404 | 409 | 422 | 507) => problem.at(field).into(),
            other => other,
        }
    }

    /// The same, where the body that it is about is a member of something larger.
    pub(crate) fn under(self, parent: &Field) -> Self {
        match self {
            Self::Refused(problem) => problem.under(parent).into(),
            other => other,
        }
    }

    /// The document that the asker sees.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => (**problem).clone(),
            Self::TooOften { what, wait } => {
                Problem::new(Code::RateLimited, format!("Too many {what}; wait {} s.", seconds(*wait)))
            }
            Self::Database(DbErr::Custom(text)) if text == TAKEN_OVER => {
                Problem::new(Code::IdempotencyPending, "Another process works on the request with this key.")
            }
            Self::Database(error) => {
                tracing::error!(%error, "database error");
                match error {
                    DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => {
                        Problem::new(Code::ControlPlaneUnavailable, "The database cannot be reached.")
                    }
                    _ => Problem::new(Code::Internal, "The database failed."),
                }
            }
            Self::Internal(error) => {
                tracing::error!(%error, "internal error");
                Problem::new(Code::Internal, "Something broke on our side.")
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = respond(&self.problem());
        if let Self::TooOften { wait, .. } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        response
    }
}

/// Whole seconds, after which the wait is over.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// In a response's extensions: the problem that it tells.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) Problem);

/// A problem document as a response.
pub(crate) fn respond(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, problem.to_json()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    // The output of a job may be a problem document of its function: by this they are told apart.
    if let Ok(value) = HeaderValue::try_from(problem.proxy_status()) {
        headers.insert(HeaderName::from_static(protocol::proxy_status::HEADER), value);
    }
    if problem.retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if problem.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response.extensions_mut().insert(Refusal(problem.clone()));
    response
}
