//! The one way to the server: JSON over `/api/v1`, errors as problem documents.

use gloo_net::http::{Method, RequestBuilder, Response};
use protocol::{Code, Field, Invalid, Problem, headers, proxy_status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use web_sys::AbortSignal;

use crate::{connection, session};

/// The code of what no answer came to.
const UNREACHABLE: &str = "unreachable";
/// Where the API is.
pub(crate) const BASE: &str = "/api/v1";

/// Why something did not work: what the user is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The stable code.
    pub(crate) code: String,
    /// What was wrong.
    pub(crate) cause: String,
    /// What to do about it.
    pub(crate) fix: String,
    /// The run or request, to name when asking for help.
    pub(crate) id: Option<String>,
    /// The HTTP status; 0 where no answer came.
    pub(crate) status: u16,
    /// The input that it is about, as the API names it: forms show it there.
    pub(crate) field: Option<Field>,
}

impl Trouble {
    /// A trouble that the browser found.
    pub(crate) fn here(code: &str, cause: impl Into<String>, fix: &str) -> Self {
        Self { code: code.to_owned(), cause: cause.into(), fix: fix.to_owned(), id: None, status: 0, field: None }
    }

    /// A value that the page itself cannot send.
    pub(crate) fn of_input(field: impl Into<Field>, cause: impl Into<String>, fix: &str) -> Self {
        Self::here(Code::InvalidField.as_str(), cause, fix).at(field)
    }

    /// The same, about this input.
    pub(crate) fn at(mut self, field: impl Into<Field>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Whether it is about one of these inputs, or a part of one.
    pub(crate) fn is_about(&self, inputs: &[&str]) -> bool {
        self.field.as_ref().is_some_and(|field| inputs.iter().any(|input| field.is_in(input)))
    }

    /// Whether no answer came.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// No answer came.
    pub(crate) fn unreachable() -> Self {
        Self::here(
            UNREACHABLE,
            "The platform does not answer.",
            "Check that it runs and that you are online; then try again.",
        )
    }

    /// What the server said, whatever it was.
    pub(crate) fn from_body(status: u16, body: &str) -> Self {
        match serde_json::from_str::<Problem>(body) {
            Ok(problem) => problem.into(),
            Err(_) => Self {
                code: format!("http_{status}"),
                cause: format!("The server answered {status}, and not in the way this page knows."),
                fix: "Reload the page: it may be older than the server.".to_owned(),
                id: None,
                status,
                field: None,
            },
        }
    }
}

impl From<Invalid> for Trouble {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        let cause = if problem.detail.is_empty() { problem.title } else { problem.detail };
        Self {
            code: problem.code.as_str().to_owned(),
            cause,
            fix: problem.help,
            id: problem.instance,
            status: problem.status,
            field: problem.field,
        }
    }
}

/// What a call gives.
pub(crate) type Result<T> = std::result::Result<T, Trouble>;

/// A call that is being put together.
pub(crate) struct Call {
    builder: RequestBuilder,
}

impl Call {
    fn new(method: Method, path: &str) -> Self {
        Self { builder: RequestBuilder::new(&format!("{BASE}{path}")).method(method) }
    }

    /// `GET`
    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// `POST`
    pub(crate) fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    /// `PUT`
    pub(crate) fn put(path: &str) -> Self {
        Self::new(Method::PUT, path)
    }

    /// `PATCH`
    pub(crate) fn patch(path: &str) -> Self {
        Self::new(Method::PATCH, path)
    }

    /// `DELETE`
    pub(crate) fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// For this account.
    pub(crate) fn of(mut self, account: &str) -> Self {
        self.builder = self.builder.header(headers::ACCOUNT, account);
        self
    }

    /// Only if the thing still has this ETag.
    pub(crate) fn if_match(mut self, etag: &str) -> Self {
        let quoted =
            if etag.starts_with('"') || etag.starts_with("W/") { etag.to_owned() } else { format!("\"{etag}\"") };
        self.builder = self.builder.header("if-match", &quoted);
        self
    }

    /// With this header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends it; the answer is read while it comes, until `abort`.
    pub(crate) async fn open(self, abort: &AbortSignal) -> Result<Response> {
        let sent = self.builder.abort_signal(Some(abort)).send().await;
        let answer = answered(sent)?;
        if !answer.ok() {
            text(answer).await?;
            return Err(Trouble::unreachable());
        }
        Ok(answer)
    }

    /// Sends it; whatever is answered is the answer, but for what the platform says in its place.
    pub(crate) async fn whole(self) -> Result<Whole> {
        let answer = answered(self.builder.send().await)?;
        let status = answer.status();
        let headers: Vec<(String, String)> = answer.headers().entries().collect();
        let body = answer.binary().await.map_err(|_| Trouble::unreachable())?;
        let whole = Whole { status, headers, body };
        if whole.by_platform() {
            return Err(Trouble::from_body(status, &String::from_utf8_lossy(&whole.body)));
        }
        Ok(whole)
    }

    /// Sends it, without a body.
    pub(crate) async fn send<T: DeserializeOwned>(self) -> Result<T> {
        let answer = answered(self.builder.send().await)?;
        read(answer).await
    }

    /// Sends it, without a body; the answer is one JSON value on each line.
    pub(crate) async fn lines<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        let answer = answered(self.builder.send().await)?;
        let body = text(answer).await?;
        let lines = body.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).map_err(|error| unreadable(&error.to_string()))).collect()
    }

    /// Sends it with this body.
    pub(crate) async fn json<T: DeserializeOwned>(self, body: &impl Serialize) -> Result<T> {
        let request = self.builder.json(body).map_err(|error| unreadable(&error.to_string()))?;
        let answer = answered(request.send().await)?;
        read(answer).await
    }
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Whole {
    /// What the body says it is.
    pub(crate) fn media_type(&self) -> &str {
        media_type(&self.headers)
    }

    /// Whether the platform answered instead of the function, which may answer with a problem document of its own.
    fn by_platform(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == proxy_status::HEADER && proxy_status::is_ours(value))
    }
}

/// The `content-type` of these headers; empty where there is none.
pub(crate) fn media_type(headers: &[(String, String)]) -> &str {
    let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    found.map_or("", |(_, value)| value)
}

/// The answer, where there is one.
fn answered<E>(sent: std::result::Result<Response, E>) -> Result<Response> {
    connection::told(sent.is_ok());
    sent.map_err(|_| Trouble::unreachable())
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T> {
    let body = text(answer).await?;
    let body = if body.is_empty() { "null" } else { &body };
    serde_json::from_str(body).map_err(|error| unreadable(&error.to_string()))
}

async fn text(answer: Response) -> Result<String> {
    let status = answer.status();
    let body = answer.text().await.map_err(|_| Trouble::unreachable())?;
    if !answer.ok() {
        let trouble = Trouble::from_body(status, &body);
        if trouble.code == protocol::Code::Unauthenticated.as_str() {
            session::lost();
        }
        return Err(trouble);
    }
    Ok(body)
}

fn unreadable(detail: &str) -> Trouble {
    Trouble::here(
        "unreadable",
        format!("The server's answer cannot be read: {detail}."),
        "Reload the page: it may be older than the server.",
    )
}

#[cfg(test)]
mod tests {
    use super::Trouble;
    use protocol::{Code, Problem};

    #[test]
    fn a_problem_document_becomes_code_cause_fix_and_id() {
        let problem = Problem::of(Code::UnknownImport, "artifact", "imports `wasi:sockets/tcp`").about("run_1");
        let body = String::from_utf8_lossy(&problem.to_json()).into_owned();
        let trouble = Trouble::from_body(422, &body);
        assert_eq!(trouble.code, "unknown_import");
        assert_eq!(trouble.cause, "imports `wasi:sockets/tcp`");
        assert_eq!(trouble.fix, Code::UnknownImport.help());
        assert_eq!(trouble.id.as_deref(), Some("run_1"));
        assert!(trouble.is_about(&["name", "artifact"]) && !trouble.is_about(&["art", "name"]));
    }

    #[test]
    fn a_page_of_some_proxy_is_still_told() {
        assert_eq!(Trouble::from_body(502, "<html>Bad gateway").code, "http_502");
    }
}
