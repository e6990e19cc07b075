//! `Idempotency-Key`: the same POST sent twice has one effect and one answer. ([`fingerprint`] says which are the same.)
//!
//! A row is made before the work begins and marked in the very transaction that has the effect, so that a crash
//! between effect and answer is never answered by doing it again. The work goes on when its caller goes away.
//!
//! Who asks is known before a row is read or made: a credential that has ended sees no earlier answer, and strangers
//! leave no rows (a log-in may be repeated, and an address signs up once anyway). An answer is repeated to whoever may
//! still do what the request did ([`Needs`]). Secrets that are shown once are in no kept answer: a handler says what is
//! kept in their place ([`Again`]), and what sets a cookie is not kept at all. The rest is sealed with the
//! `Idempotency-Key` itself, which is not stored.

mod fingerprint;
mod needs;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use protocol::headers::IdempotencyKey;
use protocol::{Code, Field, InstanceId, Problem, Timestamp};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::idempotency;
use crate::db::loops;
use crate::error::{Error, Result, TAKEN_OVER, refuse, refuse_field};
use crate::identity::authority;
use crate::identity::caller::Caller;
use crate::identity::credentials::sha256_hex;
use crate::identity::limiter;
use fingerprint::Fingerprint;
use needs::Needs;
pub(crate) use needs::{needed_account, needed_role, needed_scope};

/// A request of another process without an effect is taken over after so long.
const ORPHAN_AFTER: Duration = Duration::from_secs(10);
/// Old answers that one statement deletes.
const PRUNE_ROWS_MAX: u64 = 2_000;
const KEPT_HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static(protocol::proxy_status::HEADER),
];

tokio::task_local! {
    /// The row of the request that this task works on, and whose it is.
    static ROW: (String, InstanceId);
}

/// Notes, in the effect's own transaction, that the request has had its effect. Where another process has taken the
/// request over in the meantime, the effect is not committed.
pub(crate) async fn mark_effect(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    let Ok((row, instance)) = ROW.try_with(Clone::clone) else { return Ok(()) };
    let marked = idempotency::Entity::update_many()
        .col_expr(idempotency::Column::Effect, true.into())
        .filter(idempotency::Column::Id.eq(row))
        .filter(idempotency::Column::Instance.eq(Col(instance)))
        .exec(tx)
        .await?;
    match marked.rows_affected {
        1 => Ok(()),
        _ => Err(DbErr::Custom(TAKEN_OVER.to_owned())),
    }
}

/// In a response's extensions: the body that is kept, where the first one holds secrets that are shown once.
#[derive(Debug, Clone)]
pub(crate) struct Again(pub Bytes);

#[derive(Serialize, Deserialize)]
struct Kept {
    headers: Vec<(String, String)>,
    body: String,
    /// Missing in what an earlier release has kept, secrets among it: that is not repeated.
    #[serde(default)]
    needs: Option<Needs>,
}

/// Whose request it is.
struct Asker {
    /// The credential's SHA-256; empty for the core, which has checked it.
    owner: String,
    /// None for the core.
    caller: Option<Caller>,
}

impl Asker {
    fn fingerprint(&self, app: &App, parts: &Parts, body: &[u8]) -> Fingerprint {
        let secret = app.tickets.secret("fingerprints of requests");
        match self.caller {
            Some(_) => Fingerprint::of_api(&secret, parts, body),
            None => Fingerprint::of_deferred(&secret, parts, body),
        }
    }
}

/// The middleware of the public API.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = match key_of(&request) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    let (mut parts, body) = request.into_parts();
    let caller = match Caller::from_request_parts(&mut parts, &app).await {
        Ok(caller) => caller,
        // The handler refuses in its own words, or needs nobody. What may pass a moment later is refused here: the
        // handler would do it without a row.
        Err(Error::Refused(problem)) if matches!(problem.status, 400..=404) => {
            return next.run(Request::from_parts(parts, body)).await;
        }
        Err(error) => return error.into_response(),
    };
    // The handler need not look again.
    parts.extensions.insert(caller.clone());
    let asker = Asker { owner: caller.sha256.clone(), caller: Some(caller) };
    let request = Request::from_parts(parts, body);
    once(&app, &key, asker, request, next).await.unwrap_or_else(Error::into_response)
}

/// The middleware of the core's own calls: the gateway has checked who asks, and names the account.
pub(crate) async fn core_layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = match key_of(&request) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    let asker = Asker { owner: String::new(), caller: None };
    once(&app, &key, asker, request, next).await.unwrap_or_else(Error::into_response)
}

/// The key of a request that needs one effect only; none where another method, or no key, was sent.
fn key_of(request: &Request) -> Result<Option<IdempotencyKey>> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    IdempotencyKey::of(request.headers()).map_err(|error| Problem::from(error).into())
}

async fn once(app: &App, key: &IdempotencyKey, asker: Asker, request: Request, next: Next) -> Result<Response> {
    let key = key.as_str();
    let (parts, body) = request.into_parts();
    let too_large = || format!("The body is larger than {}.", app.config.body_max);
    // A body that is still on its way must not hold up others.
    let turn = asker.caller.as_ref().map(|caller| caller.turn.clone()).unwrap_or_default();
    if body.size_hint().exact().is_none() {
        turn.end();
    }
    let bytes = to_bytes(body, app.config.body_max.as_usize())
        .await
        .map_err(|_| refuse_field(Code::BodyTooLarge, Field::BODY, too_large()))?;
    turn.begin().await?;
    authority::check(app.db.read()).await?;
    let account = parts.headers.get(protocol::headers::ACCOUNT).map(HeaderValue::as_bytes).unwrap_or_default();
    let id = sha256_hex(&[asker.owner.as_bytes(), account, key.as_bytes()].join(&b'\n'));
    let fingerprint = asker.fingerprint(app, &parts, &bytes);

    if let Some(earlier) = claim(app, &id, fingerprint.as_str()).await? {
        return replay(app, key, &fingerprint, asker.caller.as_ref(), earlier).await;
    }
    let whose = asker.caller.as_ref().and_then(|caller| caller.account.as_ref());
    let whose = whose.map_or_else(|| [asker.owner.as_bytes(), account].concat(), |(row, _)| row.id.to_string().into());
    let whose = limiter::Key::of(&whose);
    let request = Request::from_parts(parts, Body::from(bytes));
    let (app, key) = (app.clone(), key.to_owned());
    let work = async move {
        let (response, needs) = needs::noted(ROW.scope((id.clone(), app.instance), next.run(request))).await;
        keep(&app, whose, (&key, &id), response, needs).await
    };
    // Whoever asks may go away: the row would stay without an answer.
    let done = tokio::spawn(authority::current().during(work).in_current_span()).await;
    done.map_err(|error| Error::Internal(format!("a request with a key: {error}")))?
}

/// Makes the row, or returns the one that is there.
async fn claim(app: &App, id: &str, request: &str) -> Result<Option<idempotency::Model>> {
    for _ in 0..2 {
        let inserted = idempotency::Entity::insert(idempotency::ActiveModel {
            id: Set(id.to_owned()),
            request: Set(request.to_owned()),
            effect: Set(false),
            instance: Set(app.instance.into()),
            status: Set(None),
            answer: Set(None),
            created: Set(Timestamp::now().into()),
        })
        .on_conflict(OnConflict::column(idempotency::Column::Id).do_nothing().to_owned())
        .exec_without_returning(app.db.write())
        .await;
        if !matches!(inserted, Err(DbErr::RecordNotInserted) | Ok(0)) {
            inserted?;
            return Ok(None);
        }
        let Some(row) = idempotency::Entity::find_by_id(id).one(app.db.write()).await? else { continue };
        let age = Timestamp::now().since(*row.created);
        let expired = age > app.config.idempotency_age_max.duration();
        // Its process has died before it changed anything, or works on it still: then it cannot commit any more.
        let unfinished = row.instance.0 != app.instance && !row.effect && row.status.is_none();
        let orphan = unfinished && age > ORPHAN_AFTER;
        if !expired && !orphan {
            return Ok(Some(row));
        }
        forget(app, id).await?;
    }
    Err(refuse(Code::IdempotencyPending, "A request with this key is being worked on."))
}

async fn forget(app: &App, id: &str) -> Result<()> {
    idempotency::Entity::delete_by_id(id).exec(app.db.write()).await?;
    Ok(())
}

async fn replay(
    app: &App,
    key: &str,
    request: &Fingerprint,
    caller: Option<&Caller>,
    row: idempotency::Model,
) -> Result<Response> {
    if !request.is(&row.request) {
        let detail = "The key was first used for another request: another path, query, body or option.";
        return Err(refuse(Code::IdempotencyMismatch, detail));
    }
    let (Some(status), Some(answer)) = (row.status, row.answer) else {
        return Err(match row.effect && row.instance.0 != app.instance {
            true => lost(),
            false => refuse(Code::IdempotencyPending, "A request with this key is being worked on."),
        });
    };
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let kept: Option<Kept> = serde_json::from_slice(&seal(key, &row.id, answer)).ok();
    let (Some(status), Some(kept)) = (status, kept) else {
        return Err(Error::Internal("a kept answer cannot be read".to_owned()));
    };
    let needs = kept.needs.ok_or_else(lost)?;
    if let Some(caller) = caller {
        needs.check(app, caller).await?;
    }
    let mut response = (status, kept.body).into_response();
    response.headers_mut().clear();
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn lost() -> Error {
    refuse(Code::IdempotencyPending, "The request was done, but its answer was lost. List what there is now.")
}

/// Whether an answer is worth a row: not what may go better the next time, no session, and of refusals, which cost nothing,
/// not those of somebody who may not do it at all, nor more than an account may have.
fn is_kept(app: &App, whose: limiter::Key, response: &Response) -> bool {
    let status = response.status();
    let may_not = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || may_not;
    !again
        && !response.headers().contains_key(header::SET_COOKIE)
        && (!status.is_client_error() || app.tries.keep_refusal(whose))
}

async fn keep(
    app: &App,
    whose: limiter::Key,
    (key, id): (&str, &str),
    response: Response,
    needs: Needs,
) -> Result<Response> {
    if !is_kept(app, whose, &response) {
        forget(app, id).await?;
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let shown_again = parts.extensions.remove::<Again>();
    let bytes = to_bytes(body, app.config.body_max.as_usize())
        .await
        .map_err(|error| Error::Internal(format!("an answer's body: {error}")))?;
    let shown_again = shown_again.map_or_else(|| bytes.clone(), |Again(body)| body);
    let body = String::from_utf8_lossy(&shown_again).into_owned();
    let kept = Kept { headers: kept_headers(&parts.headers), body, needs: Some(needs) };
    let answer = seal(key, id, serde_json::to_vec(&kept).unwrap_or_default());
    idempotency::Entity::update_many()
        .col_expr(idempotency::Column::Status, i32::from(parts.status.as_u16()).into())
        .col_expr(idempotency::Column::Answer, answer.into())
        .filter(idempotency::Column::Id.eq(id))
        .exec(app.db.write())
        .await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName, value: &HeaderValue| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    headers.iter().filter(|(name, _)| KEPT_HEADERS.contains(name)).filter_map(|(n, v)| text(n, v)).collect()
}

/// Seals and opens: the stream of a keyed hash, used for one answer only.
fn seal(key: &str, id: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    let secret = blake3::derive_key("crowdcloud 2026 idempotency answers", format!("{id}\n{key}").as_bytes());
    let mut stream = vec![0; bytes.len()];
    blake3::Hasher::new_keyed(&secret).finalize_xof().fill(&mut stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
    bytes
}

/// Forgets what is old enough.
pub(crate) async fn prune(app: &App) -> Result<(), DbErr> {
    let age = i64::try_from(app.config.idempotency_age_max.0).unwrap_or(i64::MAX);
    let before = Timestamp(Timestamp::now().0.saturating_sub(age));
    loop {
        let ids: Vec<String> = loops::answers_too_old(before, PRUNE_ROWS_MAX).into_tuple().all(app.db.read()).await?;
        if ids.is_empty() {
            return Ok(());
        }
        // A request with the same key may have begun anew.
        let old = idempotency::Entity::delete_many().filter(idempotency::Column::Created.lt(Col(before)));
        old.filter(idempotency::Column::Id.is_in(ids)).exec(app.db.write()).await?;
    }
}
