//! Bodies for the API by whom nobody knows yet. They are small, come whole and soon, and are few at once of one client;
//! only then does the control plane hear of the request. Who shows a key is asked for it before the body is read.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use protocol::{Code, Problem, headers};

use crate::headers::{bearer_key, cookie};
use crate::state::Gateway;
use crate::upload::Source;

/// What nobody needs to be known for; a credential that comes along proves nothing there.
const OPEN: [&str; 9] = [
    "/api/v1/signup",
    "/api/v1/sessions",
    "/api/v1/sessions/code",
    "/api/v1/password-resets",
    "/api/v1/password-resets/use",
    "/api/v1/nodes/tokens/look",
    "/api/v1/nodes/register",
    "/api/v1/nodes/renew",
    "/api/v1/nodes/leave",
];

/// Whether a path of the API is one of those, where a credential proves nothing.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN.contains(&path.trim_end_matches('/'))
}

/// The body that the control plane may read.
pub(crate) async fn vet(gateway: &Arc<Gateway>, head: &Parts, body: Source, client: IpAddr) -> Result<Source, Problem> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let open = is_open(head.uri.path());
    match bearer_key(&head.headers) {
        Some(key) if !open => {
            gateway.keys.grant_of_key(key).await?;
            Ok(body)
        }
        // The control plane looks at the log-in before it reads the body.
        None if !open && cookie(&head.headers, headers::SESSION_COOKIE).is_some() => Ok(body),
        _ => whole(gateway, body, client).await,
    }
}

async fn whole(gateway: &Gateway, body: Source, client: IpAddr) -> Result<Source, Problem> {
    let config = &gateway.config;
    let size_max = config.stranger_body_max;
    let too_large = || {
        Problem::of(
            Code::BodyTooLarge,
            protocol::Field::BODY,
            format!("without a key or a log-in the API accepts up to {size_max}"),
        )
        .with_help("Send less, or with a key.")
    };
    if body.size_hint().lower() > size_max.0 {
        return Err(too_large());
    }
    let Some(_held) = gateway.strangers.hold(client, config.stranger_bodies_max) else {
        let most = config.stranger_bodies_max;
        return Err(Problem::new(Code::RateLimited, format!("{most} requests of this client are being received")));
    };
    let read = tokio::select! {
        read = tokio::time::timeout(
            config.stranger_body_within.duration(),
            Limited::new(body, size_max.as_usize()).collect(),
        ) => read,
        () = gateway.cut.cancelled() => return Err(Code::Draining.into()),
    };
    match read {
        Ok(Ok(body)) => Ok(fabric::full(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Code::InvalidRequest.into()),
        Err(_) => {
            let within = config.stranger_body_within;
            Err(Problem::new(Code::RequestTimeout, format!("the body has not come whole within {within}")))
        }
    }
}
