//! Extractors whose refusals are problem documents, and small answers.

use axum::Extension;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path as AxumPath, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::Body as _;
use protocol::{ByteSize, Code, Field, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::App;
use crate::error::{Error, Result, refuse, refuse_field};
use crate::finite::Turn;
use crate::idempotency::Again;
use crate::identity::authority;

/// How long a body may be, for the layers below: axum counts, and the refusal names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyMax(ByteSize);

impl BodyMax {
    /// Bounds the bodies of all routes that are there; the innermost counts.
    pub(super) fn layer(most: ByteSize) -> (DefaultBodyLimit, Extension<Self>) {
        (DefaultBodyLimit::max(most.as_usize()), Extension(Self(most)))
    }
}

/// A JSON body. An empty one reads as `{}`.
pub(crate) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let mut kinds = request.headers().get_all(header::CONTENT_TYPE).iter();
        // A form that a foreign page can post without asking is never read as JSON.
        if !kinds.all(|kind| protocol::body::is_json(kind.as_bytes())) {
            return Err(refuse_field(Code::InvalidRequest, "Content-Type", "The body is not `application/json`."));
        }
        let most = request.extensions().get::<BodyMax>().copied();
        // A body that is still on its way must not hold up others: its sender may be as slow as they like.
        let turn = request.extensions().get::<Turn>().cloned().filter(|_| request.body().size_hint().exact().is_none());
        if let Some(turn) = &turn {
            turn.end();
        }
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            match (too_large, most) {
                (true, Some(BodyMax(most))) => {
                    refuse_field(Code::BodyTooLarge, Field::BODY, format!("The body is larger than {most}."))
                }
                (true, None) => refuse_field(Code::BodyTooLarge, Field::BODY, "The body is too large."),
                (false, _) => refuse_field(Code::InvalidRequest, Field::BODY, rejection.body_text()),
            }
        })?;
        if let Some(turn) = &turn {
            turn.begin().await?;
        }
        if !bytes.is_empty() {
            authority::check(app.db.read()).await?;
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        Ok(Self(protocol::body::read(text)?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A parameter of the path.
pub(crate) struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = AxumPath::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|rejection| refuse(Code::NotFound, format!("{}.", rejection.body_text())))
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let text = parts.uri.query().unwrap_or_default();
        let query = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
        let read = serde_path_to_error::deserialize(query).map_err(|error| {
            let field = protocol::body::path(&error);
            let detail = format!("The query parameter `{field}`: {}.", error.inner());
            Problem::of(Code::InvalidRequest, field, detail)
        });
        Ok(Self(read?))
    }
}

/// `201 Created`.
pub(crate) fn created<T: Serialize>(body: T) -> (StatusCode, Json<T>) {
    (StatusCode::CREATED, Json(body))
}

/// `201 Created`, with a secret that is shown this once: whoever repeats the request gets `again`.
pub(crate) fn created_once<T: Serialize>(body: T, again: &T) -> Response {
    let mut response = created(body).into_response();
    let again = serde_json::to_vec(again).unwrap_or_default();
    response.extensions_mut().insert(Again(again.into()));
    response
}

/// An answer with an ETag.
pub(crate) fn tagged<T: Serialize>(body: T, etag: &str) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// What the client calls itself.
pub(crate) fn user_agent(headers: &http::HeaderMap) -> &str {
    text(headers, &header::USER_AGENT).unwrap_or_default()
}

/// A header's text.
pub(crate) fn text<'a>(headers: &'a http::HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
