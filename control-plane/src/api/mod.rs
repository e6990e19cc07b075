//! The HTTP surface: the public API and its document, the core's own calls, and what nodes may ask.

pub(crate) mod extract;
mod functions;
mod identity;
mod internal;
mod jobs;
mod joining;
pub(crate) mod nodes;
mod parameters;
mod platform;
mod queues;
mod resets;
mod runs;
mod second_factor;
mod store;
mod triggers;
mod trust;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
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
use extract::BodyMax;
use parameters::Queries;

/// Shorter answers are one packet as they are.
const COMPRESSED_FROM: u64 = 1024;

/// The public API and `/internal`, for `Mount::Core(ControlPlane)`.
pub(crate) fn router(app: App) -> Router {
    let routes = OpenApiRouter::with_openapi(Document::openapi())
        .merge(
            identity::router()
                .merge(second_factor::router())
                .merge(resets::router())
                .merge(joining::router())
                .layer(BodyMax::layer(app.config.identity_body_max)),
        )
        .merge(functions::router())
        .merge(runs::router())
        .merge(jobs::router())
        .merge(triggers::router())
        .merge(queues::router())
        .merge(platform::router())
        .merge(trust::router())
        .merge(store::router());
    let (public, document) = OpenApiRouter::new().nest("/api/v1", routes).split_for_parts();
    let queries = Queries::of(&document);
    let document: Arc<str> = openapi::finish(document).into();
    let document = move || async move { ([(header::CONTENT_TYPE, "application/json")], document.to_string()) };
    public
        .route("/api/v1/openapi.json", get(document))
        .layer(axum::middleware::from_fn(parameters::named))
        .layer(axum::middleware::from_fn_with_state(app.clone(), idempotency::layer))
        .layer(axum::middleware::from_fn(authority::layer))
        .layer(axum::middleware::from_fn_with_state(queries, parameters::strict_query))
        .layer(BodyMax::layer(app.config.body_max))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_FROM).and(is_worth_it)))
        .layer(axum::middleware::map_request(plain_will_do))
        .nest("/internal", internal::router(&app))
        .fallback(unknown)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// What gateways have seen, for `Mount::Core(Settlement)`.
pub(crate) fn settlement(app: App) -> Router {
    Router::new()
        .nest("/internal", internal::settlement(&app))
        .fallback(unknown)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// Who takes no coding at all, not even none, gets the answer as it is: by then the request is done, and the status of
/// its answer is worth more than `406`.
async fn plain_will_do(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let Ok(values) = values.map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>() else { return request };
    if values.iter().flat_map(|value| value.split(',')).any(refuses_plain) {
        // The first one counts, and this one counts least.
        let weighed = format!("identity;q=0.001, {}", values.join(", "));
        if let Ok(weighed) = HeaderValue::try_from(weighed) {
            headers.insert(header::ACCEPT_ENCODING, weighed);
        }
    }
    request
}

/// Whether it says `identity;q=0` or `*;q=0`.
fn refuses_plain(item: &str) -> bool {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let is_plain = matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("identity");
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().unwrap_or(0.0))
    });
    is_plain && weight.is_some_and(|weight| weight <= 0.0)
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
    fn f03_who_refuses_plain_answers_is_known() {
        for item in ["identity;q=0", " IDENTITY ; Q=0.000", "*;q=0", "* ; x=1; q=0.0", "identity;q=odd"] {
            assert!(refuses_plain(item), "{item}");
        }
        for item in ["identity", "*", "identity;q=0.001", "*;q=1", "gzip;q=0", "", "identity;x=0"] {
            assert!(!refuses_plain(item), "{item}");
        }
    }

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
