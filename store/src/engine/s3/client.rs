//! The HTTP of `object_store`, by the client that the rest of the program has; and what S3 says where it refuses, as a type.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};

use crate::engine::Trouble;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// One request, its whole body and that of the response included.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Of a response that refuses.
const REFUSAL_MAX: usize = 64 * 1024;
/// Of any other response: a segment, or a page of a list.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Of S3's own word, which stands in errors and logs.
const CODE_LENGTH_MAX: usize = 64;

/// What services say where a bucket or its owner has no room.
const FULL: [&str; 4] = ["QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"];

/// S3 does not do it.
#[derive(Debug, thiserror::Error)]
#[error("refused with {status} {code}")]
pub(super) struct Refused {
    status: StatusCode,
    /// S3's own word, where it has said one.
    code: String,
}

impl Refused {
    /// Whether it may be over in a moment.
    fn is_passing(&self) -> bool {
        let is_busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&self.status);
        is_busy || (self.status.is_server_error() && self.trouble() != Trouble::Full)
    }

    pub(super) fn trouble(&self) -> Trouble {
        if self.status == StatusCode::INSUFFICIENT_STORAGE || FULL.contains(&self.code.as_str()) {
            return Trouble::Full;
        }
        match self.status {
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Trouble::Slow,
            _ => Trouble::Failed,
        }
    }
}

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    /// Whether the service is on this machine: then no proxy is asked.
    pub(super) is_near: bool,
}

#[derive(Debug)]
struct Caller(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let builder = reqwest::Client::builder();
        let builder = if self.is_near { builder.no_proxy() } else { builder };
        let client = builder
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .redirect(Policy::none())
            .https_only(!allows_http)
            .user_agent(concat!("crowdcloud/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: error.into() })?;
        Ok(HttpClient::new(Caller(client)))
    }
}

#[async_trait]
impl HttpService for Caller {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_head = request.method() == Method::HEAD;
        let (head, body) = request.into_parts();
        // It is in memory in one piece: no service is sent chunks whose length it is not told.
        let body = body.collect().await?.to_bytes();
        let request = http::Request::from_parts(head, body);
        let request = reqwest::Request::try_from(request).map_err(broken)?;
        let response: http::Response<reqwest::Body> = self.0.execute(request).await.map_err(broken)?.into();
        let (head, body) = response.into_parts();
        let status = head.status;
        // A HEAD has no body that could say what is missing.
        if status.is_success() || status.is_redirection() || (is_head && status == StatusCode::NOT_FOUND) {
            let body = Limited::new(body.map_err(broken), BODY_BYTES_MAX).map_err(unboxed);
            return Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)));
        }
        let said = Limited::new(body, REFUSAL_MAX).collect().await.map(|said| said.to_bytes()).unwrap_or_default();
        let code = code(&said);
        // A key is missing; where a bucket is, that is something else.
        if status == StatusCode::NOT_FOUND && code == "NoSuchKey" {
            return Ok(HttpResponse::from_parts(head, Bytes::new().into()));
        }
        let refused = Refused { status, code };
        // All that is sent here may be sent twice.
        let kind = if refused.is_passing() { HttpErrorKind::Request } else { HttpErrorKind::Unknown };
        Err(HttpError::new(kind, refused))
    }
}

/// `<Code>` of the document that S3 refuses with: so many letters and digits of it.
fn code(said: &Bytes) -> String {
    let text = String::from_utf8_lossy(said);
    let rest = text.split_once("<Code>").map_or("", |(_, rest)| rest);
    rest.chars().take_while(char::is_ascii_alphanumeric).take(CODE_LENGTH_MAX).collect()
}

/// What is wrong with a body.
fn unboxed(error: Box<dyn Error + Send + Sync>) -> HttpError {
    match error.downcast::<HttpError>() {
        Ok(error) => *error,
        Err(error) => HttpError::new_boxed(HttpErrorKind::Unknown, error),
    }
}

fn broken(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else if error.is_builder() {
        HttpErrorKind::Unknown
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}
