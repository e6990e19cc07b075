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
use http::header;
use protocol::Code;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::App;
use crate::error::{Error, refuse};
use crate::openapi::Document;
use crate::{idempotency, openapi};

/// The public API and `/internal`, for `Mount::Core(ControlPlane)`.
pub(crate) fn router(app: App) -> Router {
    let routes = OpenApiRouter::with_openapi(Document::openapi())
        .merge(identity::router())
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
        .layer(DefaultBodyLimit::max(app.config.body_max.as_usize()))
        .nest("/internal", internal::router(&app))
        .fallback(unknown)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// Nothing is there.
pub(crate) async fn unknown(uri: http::Uri) -> Error {
    refuse(Code::NotFound, format!("There is nothing at {}.", uri.path()))
}

/// Something is there, but not so.
pub(crate) async fn no_such_method(method: http::Method, uri: http::Uri) -> Error {
    refuse(Code::MethodNotAllowed, format!("{} does not take {method}.", uri.path()))
}
