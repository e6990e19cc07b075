//! What a request was let in for is asked for again when its body has come, and where it has its effect.

use std::pin::pin;

use axum::body::Body;
use bytes::Bytes;
use futures::future::{Either, select};
use http::{Method, StatusCode};
use protocol::api::{Invitation, Key, Me};
use protocol::queue::MessagesLeased;
use protocol::{AccountId, Code, UserId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::harness::{Answer, Client, Ground, suite};
use crate::Config;
use crate::db::Actor;
use crate::db::entities::{api_keys, audit, messages, sessions, users};
use crate::finite::{Asker, Tenant};
use crate::identity::authority::{self, Authority};
use crate::identity::caller::authenticate;
use crate::identity::credentials::sha256_hex;

suite!(
    a03_no_route_has_an_effect_once_its_credential_has_ended,
    a04_a_lowered_role_ends_what_is_under_way,
    a27_a_mutation_asks_within_its_transaction,
    a07_of_password_changes_at_once_the_first_is_right,
    a07_an_ended_session_changes_no_password,
    a06_who_was_refused_for_a_share_is_not_looked_up_again,
);

/// A request whose last byte is held back until what is to happen meanwhile has happened. `None` where it was answered
/// without its body.
async fn held_back(
    client: &Client,
    (method, path): (Method, &str),
    body: &Value,
    meanwhile: impl Future<Output = ()>,
) -> Option<Answer> {
    let (waits, waited) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let text = body.to_string().into_bytes();
    let (start, last) =
        (Bytes::copy_from_slice(&text[..text.len() - 1]), Bytes::copy_from_slice(&text[text.len() - 1..]));
    let pieces = futures::stream::once(async move { Ok::<_, std::io::Error>(start) });
    let rest = futures::stream::once(async move {
        waits.send(()).unwrap();
        released.await.unwrap();
        Ok(last)
    });
    let body = Body::from_stream(futures::StreamExt::chain(pieces, rest));
    let answer = pin!(client.streamed(method, path, body));
    match select(answer, waited).await {
        Either::Left(_) => None,
        Either::Right((Err(_), answer)) => {
            answer.await;
            None
        }
        Either::Right((Ok(()), answer)) => {
            meanwhile.await;
            release.send(()).unwrap();
            Some(answer.await)
        }
    }
}

/// An account, with something of each kind.
struct Acme {
    ground: Ground,
    owner: Client,
    mal: Client,
    mal_id: UserId,
    names: Vec<(&'static str, String)>,
    leased: MessagesLeased,
}

impl Acme {
    async fn on(ground: Ground) -> Self {
        let owner = ground.user("owner@example.org", "acme").await;
        let invited = invite(&owner).await;
        let asked = json!({"email": "mal@example.net", "password": "correct horse", "invitation": invited});
        let mal = ground.anonymous().post("/signup", asked).await;
        assert_eq!(mal.status, StatusCode::CREATED, "{mal:?}");
        let mal_id = mal.read::<Me>().user.unwrap().id;
        let mal = ground.anonymous().with("cookie", &mal.cookie()).with("x-crowdcloud-account", "acme");
        ground.function(&owner, "probe").await;
        owner.put("/queues/mail", json!({})).await;
        let message = json!({"messages": [{"body": {"text": "one"}}]});
        owner.post("/queues/mail/messages", message).await;
        let leased: MessagesLeased = owner.post("/queues/mail/lease", json!({})).await.read();
        let job: Value = owner.post("/jobs", json!({"function": "probe"})).await.read();
        let user = owner.get("/me").await.read::<Me>().user.unwrap().id;
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let node = ("/nodes/{id}", format!("/nodes/{}", ground.node));
        let names = vec![("/jobs/{id}", format!("/jobs/{}", id(&job))), node, ("{user}", user.to_string())];
        let names = names.into_iter().chain([("{message}", leased.messages[0].id.to_string())]);
        let others = [("/queues/{name}", "/queues/mail"), ("/triggers/{name}", "/triggers/daily"), ("{name}", "probe")];
        let others = others.into_iter().chain([("{alias}", "canary")]).map(|(from, to)| (from, to.to_owned()));
        let names = names.chain(others).collect();
        Self { ground, owner, mal, mal_id, names, leased }
    }

    fn path(&self, template: &str) -> String {
        let path = self.names.iter().fold(template.to_owned(), |path, (from, to)| path.replace(from, to));
        assert!(!path.contains('{'), "{path}: say what stands there");
        path
    }

    /// What the route would do.
    async fn body(&self, method: &Method, path: &str) -> Value {
        let held = &self.leased.messages[0];
        let held = json!({"messages": [{"id": held.id, "lease": held.lease.unwrap()}]});
        match (method.as_str(), path) {
            ("POST", "/accounts") => json!({"name": "mine", "kind": "personal"}),
            ("POST", "/functions") => json!({"name": "made"}),
            ("PATCH", "/functions/{name}") => json!({"public": true}),
            ("POST", "/functions/{name}/versions") => {
                super::harness::version_of(self.ground.artifact(&self.owner, b"another").await)
            }
            ("PUT", "/functions/{name}/aliases/{alias}") => json!({"shares": [{"version": 1, "weight": 100}]}),
            ("POST", "/functions/{name}/rollback") => json!({"to": 1}),
            ("POST", "/invitations") => json!({"role": "admin"}),
            ("POST", "/invitations/accept") => {
                json!({"token": invite(&self.ground.user("eve@example.org", "eve").await).await})
            }
            ("POST", "/jobs") => json!({"function": "probe"}),
            ("POST", "/jobs/arrays") => json!({"job": {"function": "probe"}, "inputs": [{"text": "one"}]}),
            ("POST", "/keys") => json!({"name": "late", "scopes": ["admin"]}),
            ("POST", "/nodes/tokens") => json!({"name": "attic"}),
            ("PUT", "/nodes/{id}/wish") => json!({"caps": {"cores": 1}}),
            ("POST", "/nodes/{id}/suspend") => json!({"reason": "it returns garbage"}),
            ("PATCH", "/members/{user}") => json!({"role": "owner"}),
            ("PUT", "/me/password") => json!({"current": "correct horse", "new": "battery staple"}),
            ("PUT", "/me/second-factor") => json!({"password": "correct horse"}),
            ("PUT", "/me/second-factor/confirmed") => json!({"code": "000000"}),
            ("PUT", "/me/second-factor/recovery-codes" | "/me/second-factor/off") => {
                json!({"password": "correct horse", "code": "000000"})
            }
            ("PUT", "/queues/{name}") => json!({"days": 3}),
            ("POST", "/queues/{name}/messages") => json!({"messages": [{"body": {"text": "late"}}]}),
            ("POST", "/queues/{name}/lease") => json!({"count": 1}),
            ("POST", "/queues/{name}/ack" | "/queues/{name}/release") => held,
            ("PUT", "/triggers/{name}") => json!({"cron": "0 0 * * *", "job": {"function": "probe"}}),
            // These read no body.
            ("POST", "/queues/{name}/redrive" | "/queues/{name}/dead/{message}/redrive") | ("DELETE", _) => json!({}),
            ("POST", "/functions/{name}/restore" | "/jobs/{id}/cancel" | "/jobs/{id}/retry") => json!({}),
            ("POST", "/nodes/{id}/confirm") => json!({"name": "local", "fingerprint": "none"}),
            ("POST", "/nodes/vouch") => json!({"account": "acme"}),
            ("POST", "/nodes/{id}/revoke" | "/nodes/{id}/resume") => json!({}),
            ("POST", "/operator/store/check") => json!({}),
            ("POST", "/operator/store/disks/{name}/drain" | "/operator/store/disks/{name}/replace") => json!({}),
            ("PUT", "/operator/store/copies") => json!({"copies": 1}),
            (method, path) => panic!("{method} {path}: say what it takes"),
        }
    }

    /// What there is: changes, and messages, which no change is written of.
    async fn effects(&self) -> (u64, Vec<messages::Model>, Vec<users::Model>) {
        let db = self.ground.app.db.read();
        let changes = audit::Entity::find().count(db).await.unwrap();
        (changes, messages::Entity::find().all(db).await.unwrap(), users::Entity::find().all(db).await.unwrap())
    }

    async fn remove_mal(&self) {
        let gone = self.owner.delete(&format!("/members/{}", self.mal_id)).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    }

    async fn take_mal_back(&self) {
        let token = invite(&self.owner).await;
        let mal = self.ground.anonymous().with("cookie", &format!("cc_session={}", self.mal.token()));
        let joined = mal.post("/invitations/accept", json!({"token": token})).await;
        assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
    }
}

/// An admin's invitation's token.
async fn invite(owner: &Client) -> String {
    let made: Invitation = owner.post("/invitations", json!({"role": "admin"})).await.read();
    made.path.unwrap().strip_prefix("/invite/").unwrap().to_owned()
}

/// The routes that change something for whoever has a credential, as the API's document has them.
async fn routes(ground: &Ground) -> Vec<(Method, String)> {
    // Without a credential; and the gateway's own.
    const LEFT_OUT: [&str; 12] = [
        "/signup",
        "/sessions",
        "/sessions/code",
        "/password-resets",
        "/password-resets/use",
        "/nodes/tokens/look",
        "/nodes/register",
        "/nodes/renew",
        "/nodes/leave",
        "/artifacts",
        "/uploads",
        "/functions/{name}/test",
    ];
    let document: Value = ground.anonymous().get("/openapi.json").await.read();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap().to_owned();
        let methods = ["post", "put", "patch", "delete"].into_iter().filter(|method| item.get(method).is_some());
        if !LEFT_OUT.contains(&path.as_str()) {
            let methods = methods.map(|method| Method::from_bytes(method.to_uppercase().as_bytes()).unwrap());
            routes.extend(methods.map(|method| (method, path.clone())));
        }
    }
    assert!(routes.len() > 25, "{routes:?}");
    routes
}

async fn a03_no_route_has_an_effect_once_its_credential_has_ended(ground: Ground) {
    let acme = Acme::on(ground).await;
    for (method, template) in routes(&acme.ground).await {
        let (what, posts) = (format!("{method} {template}"), method == Method::POST);
        // What reads no body has its effect, or not, before it can be held back.
        if method == Method::DELETE {
            continue;
        }
        let (path, body) = (format!("/api/v1{}", acme.path(&template)), acme.body(&method, &template).await);
        let key: Key = acme.mal.post("/keys", json!({"name": "k", "scopes": ["admin"]})).await.read();
        let with_key = acme.mal.with_key(key.secret.as_ref().unwrap());
        // A body is read before all else where the request may be repeated.
        let with_key = if posts { with_key.with("idempotency-key", &what.replace(' ', "-")) } else { with_key };
        for by_key in [true, false] {
            let before = std::sync::Mutex::new(None);
            let ends = async {
                match by_key {
                    true => drop(acme.owner.delete(&format!("/keys/{}", key.id)).await),
                    false => acme.remove_mal().await,
                }
                *before.lock().unwrap() = Some(acme.effects().await);
            };
            let client = if by_key { &with_key } else { &acme.mal };
            let answer = held_back(client, (method.clone(), &path), &body, ends).await;
            let before = before.into_inner().unwrap();
            let reads = !body.as_object().unwrap().is_empty();
            assert_eq!(answer.is_some(), reads || (by_key && posts), "{what}: waits for its body");
            let Some(answer) = answer else { continue };
            let refused = matches!(answer.status.as_u16(), 401 | 403 | 404);
            assert!(refused, "{what}, by key: {by_key}: {answer:?}");
            assert_eq!(before.unwrap(), acme.effects().await, "{what}, by key: {by_key}");
            if !by_key {
                acme.take_mal_back().await;
            }
        }
    }
}

async fn a04_a_lowered_role_ends_what_is_under_way(ground: Ground) {
    let acme = Acme::on(ground).await;
    let lower = async {
        let lowered = acme.owner.patch(&format!("/members/{}", acme.mal_id), json!({"role": "member"})).await;
        assert_eq!(lowered.status, StatusCode::OK, "{lowered:?}");
    };
    let body = json!({"name": "late", "scopes": ["admin"]});
    let answer = held_back(&acme.mal, (Method::POST, "/api/v1/keys"), &body, lower).await.unwrap();
    assert_eq!(answer.code(), Code::Forbidden);
    assert_eq!(api_keys::Entity::find().count(acme.ground.app.db.read()).await.unwrap(), 0);
}

/// Nothing slips in between the check and the effect.
async fn a27_a_mutation_asks_within_its_transaction(ground: Ground) {
    let acme = Acme::on(ground).await;
    let app = acme.ground.app.clone();
    for taken_over in [false, true] {
        let key: Key = acme.mal.post("/keys", json!({"name": "k", "scopes": ["admin"]})).await.read();
        let caller = authenticate(&app, &sha256_hex(key.secret.unwrap().as_bytes()), None).await.unwrap();
        let mutated = Authority::default().during(async {
            authority::claim(&caller);
            let first = app.db.mutation().await.unwrap();
            let committed = first.commit(&Actor::platform(), None, "test", key.id).await.unwrap();
            app.announce(committed).await;
            drop(app.db.begin_asked().await.unwrap());
            let owner = acme.owner.clone();
            let path = format!("/members/{}?keys={}", acme.mal_id, if taken_over { "take_over" } else { "revoke" });
            tokio::spawn(async move { owner.delete(&path).await }).await.unwrap();
            (app.db.mutation().await.map(drop), app.db.begin_asked().await.map(drop))
        });
        let (mutation, transaction) = mutated.await;
        assert_eq!(mutation.unwrap_err().problem().code, Code::InvalidKey, "{taken_over}");
        assert_eq!(transaction.unwrap_err().problem().code, Code::InvalidKey, "{taken_over}");
        acme.take_mal_back().await;
    }
    app.db.mutation().await.map(drop).unwrap();
}

async fn a07_of_password_changes_at_once_the_first_is_right(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let change = |number: usize| {
        let ada = ada.clone();
        async move {
            let asked = json!({"current": "correct horse", "new": format!("battery staple {number}")});
            ada.put("/me/password", asked).await
        }
    };
    let answers = futures::future::join_all((0..8).map(change)).await;
    let right = answers.iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count();
    assert_eq!(right, 1, "{answers:?}");
    for wrong in answers.iter().filter(|answer| answer.status != StatusCode::NO_CONTENT) {
        assert_eq!(wrong.code(), Code::InvalidLogin);
    }
}

async fn a07_an_ended_session_changes_no_password(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let login = |password: &str| json!({"email": "ada@example.org", "password": password});
    let stolen = ground.anonymous().post("/sessions", login("correct horse")).await.cookie();
    let thief = ground.anonymous().with("cookie", &stolen);
    let change = |new: &str| json!({"current": "correct horse", "new": new});
    let owner_changes = async {
        let changed = ada.put("/me/password", change("battery staple")).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    };
    let body = change("the thief's own");
    let answer = held_back(&thief, (Method::PUT, "/api/v1/me/password"), &body, owner_changes).await.unwrap();
    assert_eq!(answer.code(), Code::InvalidKey);
    assert_eq!(ada.get("/me").await.status, StatusCode::OK, "the owner's log-in stays");
    let nobody = ground.anonymous();
    assert_eq!(nobody.post("/sessions", login("the thief's own")).await.code(), Code::InvalidLogin);
    assert_eq!(nobody.post("/sessions", login("battery staple")).await.status, StatusCode::CREATED);
    let ended = sha256_hex(thief.token().as_bytes());
    let row = sessions::Entity::find().filter(sessions::Column::Sha256.eq(ended)).one(ground.app.db.read()).await;
    assert!(row.unwrap().is_none());
}

/// While the share is full, the database is not asked who that is; it has never heard of this one.
async fn a06_who_was_refused_for_a_share_is_not_looked_up_again(ground: Ground) {
    let change = |config: &mut Config| (config.requests_max, config.requests_waiting_max) = (Some(1), 4);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let (bounds, tenant) = (&ground.app.bounds, Tenant::Account(AccountId::new()));
    let unknown = ground.anonymous().with("authorization", "Bearer cck_unknown");
    let turn = bounds.request(tenant).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut one = Box::pin(bounds.request(tenant));
        assert!(futures::poll!(one.as_mut()).is_pending());
        waiting.push(one);
    }
    assert_eq!(unknown.get("/functions").await.code(), Code::InvalidKey);
    bounds.request_of(Asker::of(&sha256_hex(b"cck_unknown"), None), tenant).await.unwrap_err();
    assert_eq!(unknown.get("/functions").await.code(), Code::ShareExceeded);
    drop((waiting, turn));
    assert_eq!(unknown.get("/functions").await.code(), Code::InvalidKey);
}
