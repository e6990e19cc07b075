//! Log-ins that need a code.

use argon2::PasswordHasher as _;
use http::StatusCode;
use protocol::api::{Me, Page, RecoveryCodes, SecondFactor, SecondFactorSecret, Session};
use protocol::{Code, Problem, Timestamp};
use sea_orm::{ActiveValue::Set, EntityTrait as _, QueryOrder as _};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::db::entities::{audit, second_factors, users};
use crate::tests::harness::{Answer, Client, Ground};

const STEP_S: i64 = 30;

/// What the app shows now, or so many steps later.
fn code(secret: &str, steps: i64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let at = Timestamp::now().0 / 1000 + steps * STEP_S;
    Builder::new().with_secret(secret).build().unwrap().generate(u64::try_from(at).unwrap()).to_string()
}

/// Sets a second factor up with the code of now: its secret, and the recovery codes.
async fn set_up(user: &Client) -> (String, Vec<String>) {
    let told = user.put("/me/second-factor", json!({"password": "correct horse"})).await;
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    let told: SecondFactorSecret = told.read();
    assert!(told.url.contains(&told.secret), "{}", told.url);
    let confirmed = user.put("/me/second-factor/confirmed", json!({"code": code(&told.secret, 0)})).await;
    assert_eq!(confirmed.status, StatusCode::OK, "{confirmed:?}");
    (told.secret, confirmed.read::<RecoveryCodes>().codes)
}

fn login() -> Value {
    json!({"email": "ada@example.org", "password": "correct horse"})
}

/// Somebody whose password was right.
async fn halfway(ground: &Ground) -> Client {
    let first = ground.anonymous().post("/sessions", login()).await;
    assert_eq!(first.code(), Code::CodeNeeded);
    let cookies: Vec<_> = first.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 1, "no session, and no device: {cookies:?}");
    assert!(first.cookie().starts_with("cc_challenge="), "{first:?}");
    ground.anonymous().with("cookie", &first.cookie())
}

async fn second(client: &Client, code: &str) -> Answer {
    client.post("/sessions/code", json!({"code": code})).await
}

pub(super) async fn a_second_factor_asks_for_codes(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let shown: SecondFactor = ada.get("/me/second-factor").await.read();
    assert_eq!(shown, SecondFactor { since: None, recovery_codes: 0 });
    let (secret, recovery) = set_up(&ada).await;
    let shown: SecondFactor = ada.get("/me/second-factor").await.read();
    assert!(shown.since.is_some());
    assert_eq!((shown.recovery_codes, recovery.len()), (10, 10));

    let wrong = json!({"email": "ada@example.org", "password": "wrong horse"});
    assert_eq!(ground.anonymous().post("/sessions", wrong).await.code(), Code::InvalidLogin, "the password is first");
    let half = halfway(&ground).await;
    assert_eq!(half.get("/me").await.code(), Code::Unauthenticated, "half a log-in is none");
    assert_eq!(second(&half, "nonsense").await.code(), Code::InvalidCode);
    let spaced = format!(" {} ", code(&secret, 1));
    let entered = second(&half, &spaced).await;
    assert_eq!(entered.status, StatusCode::CREATED, "{entered:?}");
    assert_eq!(entered.read::<Me>().user.unwrap().email, "ada@example.org");
    assert_eq!(ground.anonymous().with("cookie", &entered.cookie()).get("/me").await.status, StatusCode::OK);

    let rows = audit::Entity::find().order_by_asc(audit::Column::Revision).all(ground.app.db.read()).await.unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    let expected = ["node.create", "user.signup", "second_factor.set_up", "second_factor.on", "session.create"];
    assert_eq!(actions, expected);
    let kept = second_factors::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    let (written, kept) = (format!("{rows:?}"), format!("{kept:?}"));
    for shown_once in recovery.iter().chain([&secret]) {
        let bare = shown_once.replace('-', "");
        for secret in [shown_once, &bare] {
            assert!(!written.contains(secret.as_str()) && !kept.contains(secret.as_str()), "secrets are kept nowhere");
        }
    }
}

pub(super) async fn a_hash_is_renewed_before_the_code(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (secret, _) = set_up(&ada).await;
    // With other costs than the tests'.
    let old = argon2::Argon2::default().hash_password(b"correct horse").unwrap().to_string();
    let change = users::ActiveModel { password: Set(old.clone()), ..Default::default() };
    users::Entity::update_many().set(change).exec(ground.app.db.write()).await.unwrap();
    let kept = async || users::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap().password;
    let half = halfway(&ground).await;
    let anew = kept().await;
    assert_ne!(anew, old);
    assert_eq!(second(&half, &code(&secret, 1)).await.status, StatusCode::CREATED, "and the log-in goes on");
    halfway(&ground).await;
    assert_eq!(kept().await, anew, "once");
}

pub(super) async fn a_code_counts_once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (secret, _) = set_up(&ada).await;
    let half = halfway(&ground).await;
    assert_eq!(second(&half, &code(&secret, 0)).await.code(), Code::InvalidCode, "it has confirmed the factor");
    assert_eq!(second(&half, &code(&secret, 3)).await.code(), Code::InvalidCode, "a clock that is far ahead");
    let next = code(&secret, 1);
    let answers = futures::future::join_all((0..4).map(|_| second(&half, &next))).await;
    let passed = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(passed, 1, "{answers:?}");
    assert_eq!(second(&halfway(&ground).await, &next).await.code(), Code::InvalidCode, "used");
    assert_eq!(second(&half, &code(&secret, 0)).await.code(), Code::InvalidCode, "nor one from before the last");
}

pub(super) async fn recovery_codes_log_in_once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (secret, recovery) = set_up(&ada).await;
    let typed = recovery[3].to_uppercase().replace('-', " ");
    assert_eq!(second(&halfway(&ground).await, &typed).await.status, StatusCode::CREATED);
    assert_eq!(second(&halfway(&ground).await, &recovery[3]).await.code(), Code::InvalidCode, "used");
    assert_eq!(ada.get("/me/second-factor").await.read::<SecondFactor>().recovery_codes, 9);
    let renew = json!({"password": "correct horse", "code": code(&secret, 1)});
    let renewed: RecoveryCodes = ada.put("/me/second-factor/recovery-codes", renew).await.read();
    assert_eq!(renewed.codes.len(), 10);
    assert_eq!(second(&halfway(&ground).await, &recovery[4]).await.code(), Code::InvalidCode, "those of before ended");
    assert_eq!(second(&halfway(&ground).await, &renewed.codes[0]).await.status, StatusCode::CREATED);
    let off = json!({"password": "correct horse", "code": renewed.codes[1]});
    assert_eq!(ada.put("/me/second-factor/off", off).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ground.anonymous().post("/sessions", login()).await.status, StatusCode::CREATED);
}

pub(super) async fn codes_are_guessed_slowly(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (secret, _) = set_up(&ada).await;
    let half = halfway(&ground).await;
    for number in 0..ground.app.config.login_failures_max {
        assert_eq!(second(&half, &format!("guess {number}")).await.code(), Code::InvalidCode);
    }
    let refused = second(&half, &code(&secret, 0)).await;
    assert_eq!(refused.code(), Code::RateLimited);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1, "the true time");
    let again = halfway(&ground).await;
    assert_eq!(second(&again, &code(&secret, 0)).await.code(), Code::RateLimited, "also in another log-in");
}

pub(super) async fn what_a_second_factor_needs(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let put = async |path: &str, body: Value| ada.put(&format!("/me/second-factor{path}"), body).await;
    assert_eq!(put("/confirmed", json!({"code": "000000"})).await.code(), Code::NotFound);
    let proof = |password: &str, code: &str| json!({"password": password, "code": code});
    assert_eq!(put("/recovery-codes", proof("correct horse", "000000")).await.code(), Code::NotFound);
    let told: SecondFactorSecret = put("", json!({"password": "correct horse"})).await.read();
    let wrong = put("/confirmed", json!({"code": "nonsense"})).await;
    assert_eq!(wrong.read::<Problem>().field.unwrap().as_str(), "code");
    assert_eq!(wrong.code(), Code::InvalidCode);
    assert_eq!(ground.anonymous().post("/sessions", login()).await.status, StatusCode::CREATED, "not confirmed yet");
    let again: SecondFactorSecret = put("", json!({"password": "correct horse"})).await.read();
    assert_ne!(told.secret, again.secret);
    assert_eq!(put("/confirmed", json!({"code": code(&told.secret, 0)})).await.code(), Code::InvalidCode);
    assert_eq!(put("/confirmed", json!({"code": code(&again.secret, 0)})).await.status, StatusCode::OK);
    assert_eq!(put("", json!({"password": "correct horse"})).await.code(), Code::SecondFactorOn);
    assert_eq!(put("/confirmed", json!({"code": code(&again.secret, 0)})).await.code(), Code::SecondFactorOn);

    let off = async |body: Value| ada.put("/me/second-factor/off", body).await;
    assert_eq!(off(proof("wrong horse", &code(&again.secret, 0))).await.code(), Code::InvalidLogin);
    assert_eq!(off(proof("correct horse", "nonsense")).await.code(), Code::InvalidCode);
    let key = ada.key(&["admin"]).await;
    assert_eq!(key.get("/me/second-factor").await.code(), Code::Forbidden);
    assert_eq!(off(proof("correct horse", &code(&again.secret, 1))).await.status, StatusCode::NO_CONTENT);
    let shown: SecondFactor = ada.get("/me/second-factor").await.read();
    assert_eq!(shown.since, None);
}

pub(super) async fn what_was_there_before_stays(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let key = ada.key(&["read"]).await;
    let other = ground.anonymous().post("/sessions", login()).await.cookie();
    let (secret, _) = set_up(&ada).await;
    assert_eq!(ada.get("/sessions").await.read::<Page<Session>>().items.len(), 2);
    assert_eq!(ground.anonymous().with("cookie", &other).get("/me").await.status, StatusCode::OK);
    assert_eq!(key.get("/functions").await.status, StatusCode::OK);

    // The second step is of the password of now.
    let half = halfway(&ground).await;
    let change = json!({"current": "correct horse", "new": "battery staple"});
    assert_eq!(ada.put("/me/password", change).await.status, StatusCode::NO_CONTENT);
    assert_eq!(second(&half, &code(&secret, 0)).await.code(), Code::InvalidLogin);
    assert_eq!(second(&ground.anonymous(), &code(&secret, 0)).await.code(), Code::InvalidLogin, "no first step");
    let new = json!({"email": "ada@example.org", "password": "battery staple"});
    assert_eq!(ground.anonymous().post("/sessions", new).await.code(), Code::CodeNeeded, "it stays");
}
