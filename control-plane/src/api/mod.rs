//! The HTTP surface: the public API and its document, the core's own calls, and what nodes may ask.

pub(crate) mod extract;
mod functions;
mod identity;
mod internal;
mod jobs;
pub(crate) mod nodes;
mod platform;
mod queues;
mod runs;
mod triggers;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use protocol::Code;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate as _, SizeAbove};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::App;
use crate::error::{Error, refuse};
use crate::identity::authority;
use crate::openapi::Document;
use crate::{idempotency, openapi};

/// Shorter answers are one packet as they are.
const COMPRESSED_FROM: u64 = 1024;

/// The public API and `/internal`, for `Mount::Core(ControlPlane)`.
pub(crate) fn router(app: App) -> Router {
    let routes = OpenApiRouter::with_openapi(Document::openapi())
        .merge(identity::router().layer(DefaultBodyLimit::max(app.config.identity_body_max.as_usize())))
        .merge(functions::router())
        .merge(runs::router())
        .merge(jobs::router())
        .merge(triggers::router())
        .merge(queues::router())
        .merge(platform::router());
    let (public, document) = OpenApiRouter::new().nest("/api/v1", routes).split_for_parts();
    let document: Arc<str> = openapi::finish(document).into();
    let document = move || async move { ([(header::CONTENT_TYPE, "application/json")], document.to_string()) };
    public
        .route("/api/v1/openapi.json", get(document))
        .layer(axum::middleware::from_fn_with_state(app.clone(), idempotency::layer))
        .layer(axum::middleware::from_fn(authority::layer))
        .layer(DefaultBodyLimit::max(app.config.body_max.as_usize()))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_FROM).and(is_worth_it)))
        .nest("/internal", internal::router(&app))
        .fallback(unknown)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// Not streams, whose lines come one by one; nor what has a tag, which must be that of the thing itself for `If-Match`.
fn is_worth_it(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let plain = [&b"application/json"[..], b"text/csv", b"text/plain", b"text/html"];
    plain.iter().any(|plain| media_type.starts_with(plain)) && !headers.contains_key(header::ETAG)
}

/// Nothing is there.
pub(crate) async fn unknown(uri: http::Uri) -> Error {
    refuse(Code::NotFound, format!("There is nothing at {}.", uri.path()))
}

/// Something is there, but not so.
pub(crate) async fn no_such_method(method: http::Method, uri: http::Uri) -> Error {
    refuse(Code::MethodNotAllowed, format!("{} does not take {method}.", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f03_streams_and_what_if_match_compares_are_never_compressed() {
        let worth = |pairs: &[(header::HeaderName, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            is_worth_it(StatusCode::OK, Version::HTTP_11, &headers, &Extensions::new())
        };
        assert!(worth(&[(header::CONTENT_TYPE, "application/json")]));
        assert!(worth(&[(header::CONTENT_TYPE, "text/csv; charset=utf-8")]));
        assert!(!worth(&[(header::CONTENT_TYPE, "application/json"), (header::ETAG, "\"1\"")]));
        for stream in ["text/event-stream", "application/x-ndjson", "image/png", "application/octet-stream"] {
            assert!(!worth(&[(header::CONTENT_TYPE, stream)]), "{stream}");
        }
    }
}
