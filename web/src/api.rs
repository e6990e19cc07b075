//! The one way to the server: JSON over `/api/v1`, errors as problem documents.

use gloo_net::http::{Method, RequestBuilder, Response};
use protocol::{Code, Field, Invalid, Problem, headers, proxy_status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::js_sys::Promise;
use web_sys::{AbortController, AbortSignal};

use crate::ui::time::now_ms;
use crate::{connection, kept, session};

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

#[wasm_bindgen]
extern "C" {
    /// The promised response to what `boot.js` asked for at this path, before the portal had come; once.
    #[wasm_bindgen(js_name = takeAsked)]
    fn take_asked(path: &str) -> JsValue;
}

/// A call that is being put together.
pub(crate) struct Call {
    method: Method,
    path: String,
    account: Option<String>,
    headers: Vec<(String, String)>,
}

impl Call {
    fn new(method: Method, path: &str) -> Self {
        Self { method, path: format!("{BASE}{path}"), account: None, headers: Vec::new() }
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
        self.account = Some(account.to_owned());
        self
    }

    /// Only if the thing still has this ETag.
    pub(crate) fn if_match(self, etag: &str) -> Self {
        let quoted =
            if etag.starts_with('"') || etag.starts_with("W/") { etag.to_owned() } else { format!("\"{etag}\"") };
        self.header("if-match", &quoted)
    }

    /// With this header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What is asked, as it is kept with the response.
    fn question(&self) -> String {
        format!("{} {}", self.account.as_deref().unwrap_or_default(), self.path)
    }

    async fn builder(&self) -> RequestBuilder {
        if kept::is_glancing() {
            std::future::pending::<()>().await;
        }
        let account = self.account.as_deref().map(|account| (headers::ACCOUNT, account));
        let others = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let builder = RequestBuilder::new(&self.path).method(self.method.clone());
        account.into_iter().chain(others).fold(builder, |builder, (name, value)| builder.header(name, value))
    }

    /// Sends it; the answer is read while it comes, until `abort`.
    pub(crate) async fn open(self, abort: &AbortSignal) -> Result<Response> {
        let sent = self.builder().await.abort_signal(Some(abort)).send().await;
        let answer = answered(sent)?;
        if !answer.ok() {
            text(answer).await?;
            return Err(Trouble::unreachable());
        }
        Ok(answer)
    }

    /// Sends it; whatever is answered is the answer, but for what the platform says in its place.
    pub(crate) async fn whole(self) -> Result<Whole> {
        let answer = answered(self.builder().await.send().await)?;
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
        if self.method == Method::GET && self.headers.is_empty() {
            return parsed(&self.kept().await?);
        }
        let _change = Change::begin();
        let answer = answered(self.builder().await.send().await)?;
        parsed(&text(answer).await?)
    }

    /// The body of the response: one that is kept, where only such are asked for; else one that is kept from now on.
    async fn kept(self) -> Result<String> {
        let question = self.question();
        if kept::is_glancing() {
            return match kept::response(&question, now_ms()) {
                Some(body) => Ok(body),
                None => std::future::pending().await,
            };
        }
        let sent = kept::Sent::new(question);
        // Who leaves the page waits for it no more, and browsers have few connections.
        let abort = Abort::new()?;
        let body = text(self.asked(&abort.signal()).await?).await?;
        sent.keep(&body, now_ms());
        Ok(body)
    }

    async fn asked(self, abort: &AbortSignal) -> Result<Response> {
        if self.account.is_none()
            && let Ok(asked) = take_asked(&self.path).dyn_into::<Promise>()
        {
            let came = JsFuture::from(asked).await;
            return answered(came.and_then(JsCast::dyn_into::<web_sys::Response>).map(Response::from));
        }
        answered(self.builder().await.abort_signal(Some(abort)).send().await)
    }

    /// Sends it, without a body; the answer is one JSON value on each line, and this header, where it has it.
    pub(crate) async fn lines<T: DeserializeOwned>(self, header: &str) -> Result<(Option<String>, Vec<T>)> {
        let answer = answered(self.builder().await.send().await)?;
        let header = answer.headers().get(header);
        let body = text(answer).await?;
        let lines = body.lines().filter(|line| !line.trim().is_empty());
        let lines = lines.map(|line| serde_json::from_str(line).map_err(|error| unreadable(&error.to_string())));
        Ok((header, lines.collect::<Result<_>>()?))
    }

    /// Sends it with this body.
    pub(crate) async fn json<T: DeserializeOwned>(self, body: &impl Serialize) -> Result<T> {
        let _change = Change::begin();
        let request = self.builder().await.json(body).map_err(|error| unreadable(&error.to_string()))?;
        let answer = answered(request.send().await)?;
        parsed(&text(answer).await?)
    }
}

/// Something that changes what the API tells: what was kept before it ended is forgotten, however it ended.
struct Change;

impl Change {
    fn begin() -> Self {
        kept::forget();
        Self
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        kept::forget();
    }
}

/// Ends a call when it is dropped.
pub(crate) struct Abort(AbortController);

impl Abort {
    pub(crate) fn new() -> Result<Self> {
        AbortController::new().map(Self).map_err(|_| Trouble::unreachable())
    }

    pub(crate) fn signal(&self) -> AbortSignal {
        self.0.signal()
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
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
    let answer = sent.map_err(|_| Trouble::unreachable())?;
    if let Some(release) = answer.headers().get(headers::PORTAL) {
        connection::told_release(release);
    }
    Ok(answer)
}

fn parsed<T: DeserializeOwned>(body: &str) -> Result<T> {
    let body = if body.is_empty() { "null" } else { body };
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
