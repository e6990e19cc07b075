//! `POST /api/v1/artifacts`, and `/uploads` for jobs' inputs: bytes go straight into the store; the control plane learns
//! which blob they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyDataStream, BodyExt as _};
use protocol::api::Artifact;
use protocol::route::Scope;
use protocol::{AccountId, Blob, ByteSize, Code, Field, Problem};
use serde::Serialize;

use crate::api;
use crate::core_client::to_json;
use crate::keys::unavailable;
use crate::quota::Charge;
use crate::response::{Response, json};
use crate::state::Gateway;
use crate::upload::{Source, Upload};

/// The row of the index is committed within so long.
const INDEX_WITHIN: Duration = Duration::from_secs(5);

/// `POST /internal/artifacts`
#[derive(Serialize)]
struct Indexed {
    account: AccountId,
    blob: Blob,
}

/// Takes an upload of whoever has this scope.
pub(crate) async fn upload(
    gateway: &Arc<Gateway>,
    head: &Parts,
    body: Source,
    host: &str,
    scope: Scope,
) -> Result<Response, Problem> {
    let size_max = gateway.config.artifact_max;
    api::only(&head.method, &Method::POST)?;
    api::no_query(&head.uri)?;
    let grant = api::grant(gateway, head, host, scope).await?;
    if body.size_hint().lower() > size_max.0 {
        return Err(too_large(size_max));
    }
    let mut charge = Charge::begin(gateway, grant.account, body.size_hint().exact(), size_max).await?;
    let upload = Upload::new(body, gateway.config.upload_limits(charge.granted()));
    charge.follow(&upload);
    let body = upload.body().ok_or(Code::Internal)?;
    let bytes = BodyDataStream::new(body.map_err(|error| error.to_string())).map(|piece: Result<Bytes, String>| piece);
    let writing = gateway.epochs.writing().await.map_err(|error| unavailable(&error))?;
    let stored = gateway.store.put_stream(writing.epoch(), bytes, size_max).await;
    let blob = stored.map_err(|error| match (upload.fault(), &error) {
        (Some(Code::BodyTooLarge), _) if charge.granted() < size_max => charge.exceeded(),
        (Some(Code::BodyTooLarge), _) | (_, store::Error::TooLarge { .. }) => too_large(size_max),
        (Some(code), _) => code.into(),
        (None, error) => {
            tracing::error!(%error, "an artifact cannot be stored");
            error.code().into()
        }
    })?;
    // It took its time: who may no longer upload leaves bytes that go, and nothing that can be used.
    let grant = api::grant_again(gateway, head, host, scope, &grant).await?;
    let artifact = Artifact { digest: blob.digest, size: blob.size };
    let row = Indexed { account: grant.account, blob };
    gateway.core.tell("/internal/artifacts", to_json(&row), INDEX_WITHIN).await.map_err(|error| unavailable(&error))?;
    drop(writing);
    Ok(json(StatusCode::CREATED, &artifact))
}

fn too_large(size_max: ByteSize) -> Problem {
    Problem::of(Code::ArtifactTooLarge, Field::BODY, format!("an artifact has up to {size_max}"))
}
