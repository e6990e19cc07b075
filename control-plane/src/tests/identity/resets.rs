//! Links for a new password.

use http::StatusCode;
use protocol::{Code, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryOrder as _};
use serde_json::json;

use crate::db::entities::{audit, password_resets, second_factors, users};
use crate::identity::credentials::sha256_hex;
use crate::tests::harness::{Answer, Ground};

async fn ask(ground: &Ground, email: &str) -> Answer {
    ground.anonymous().post("/password-resets", json!({"email": email})).await
}

/// Asks for a link, and makes its token known.
async fn link(ground: &Ground, token: &str) {
    assert_eq!(ask(ground, "ada@example.org").await.status, StatusCode::ACCEPTED);
    ground.app.resets.send_waiting(&ground.app.db).await;
    let known = password_resets::ActiveModel { sha256: Set(sha256_hex(token.as_bytes())), ..Default::default() };
    let known = password_resets::Entity::update_many().set(known).exec(ground.app.db.write()).await.unwrap();
    assert_eq!(known.rows_affected, 1);
}

async fn set(ground: &Ground, token: &str, password: &str) -> Answer {
    ground.anonymous().post("/password-resets/use", json!({"token": token, "password": password})).await
}

async fn log_in(ground: &Ground, password: &str) -> Answer {
    ground.anonymous().post("/sessions", json!({"email": "ada@example.org", "password": password})).await
}

pub(super) async fn a13_a_reset_says_nothing_of_an_address(ground: Ground) {
    ground.user("ada@example.org", "ada").await;
    let changes = audit::Entity::find().count(ground.app.db.read()).await.unwrap();
    for email in ["ada@example.org", "nobody@example.org"] {
        let answer = ask(&ground, email).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::ACCEPTED, 0), "{email}");
        // Nothing is looked up or written before the answer.
        assert_eq!(audit::Entity::find().count(ground.app.db.read()).await.unwrap(), changes, "{email}");
    }
    ground.app.resets.send_waiting(&ground.app.db).await;
    assert_eq!(password_resets::Entity::find().count(ground.app.db.read()).await.unwrap(), 1);
    for email in ["ada@example.org", "nobody@example.org"] {
        let from = |number: u32| ground.anonymous().with("x-forwarded-for", &format!("198.51.100.{number}"));
        for number in 1..ground.app.config.mail.resets_max {
            let answer = from(number).post("/password-resets", json!({"email": email})).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{email} {number}");
        }
        let refused = from(99).post("/password-resets", json!({"email": email})).await;
        assert_eq!(refused.code(), Code::RateLimited, "{email}");
    }
}

pub(super) async fn a_link_sets_a_password_once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let key = ada.key(&["read"]).await;
    assert_eq!(set(&ground, "guess", "battery staple").await.code(), Code::ResetInvalid);
    link(&ground, "first").await;
    link(&ground, "second").await;
    assert_eq!(set(&ground, "first", "battery staple").await.code(), Code::ResetInvalid, "the last one counts");
    assert_eq!(set(&ground, "second", "ada@example.org").await.code(), Code::InvalidField, "guessed first");
    assert_eq!(ada.get("/me").await.status, StatusCode::OK);
    let answers = futures::future::join_all((0..3).map(|_| set(&ground, "second", "battery staple"))).await;
    let done = answers.iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count();
    assert_eq!(done, 1, "{answers:?}");
    assert_eq!(ada.get("/me").await.code(), Code::InvalidKey, "log-ins end");
    assert_eq!(key.get("/functions").await.status, StatusCode::OK, "keys stay");
    assert_eq!(log_in(&ground, "correct horse").await.code(), Code::InvalidLogin);
    assert_eq!(log_in(&ground, "battery staple").await.status, StatusCode::CREATED);
    let rows = audit::Entity::find().order_by_asc(audit::Column::Revision).all(ground.app.db.read()).await.unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    assert!(actions.contains(&"password_reset.ask") && actions.contains(&"user.password_reset"), "{actions:?}");

    link(&ground, "late").await;
    let over = password_resets::ActiveModel { expires: Set(Timestamp::now().into()), ..Default::default() };
    password_resets::Entity::update_many().set(over).exec(ground.app.db.write()).await.unwrap();
    assert_eq!(set(&ground, "late", "correct horses").await.code(), Code::ResetInvalid);
}

pub(super) async fn a_changed_password_ends_a_link(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    link(&ground, "link").await;
    let change = json!({"current": "correct horse", "new": "battery staple"});
    assert_eq!(ada.put("/me/password", change).await.status, StatusCode::NO_CONTENT);
    assert_eq!(set(&ground, "link", "correct horses").await.code(), Code::ResetInvalid);
    assert_eq!(log_in(&ground, "battery staple").await.status, StatusCode::CREATED);
}

pub(super) async fn a_reset_keeps_the_second_factor(ground: Ground) {
    ground.user("ada@example.org", "ada").await;
    let ada = users::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    let factor = second_factors::Model {
        user_id: ada.id,
        nonce: "nonce".to_owned(),
        confirmed: Some(Timestamp::now().into()),
        last_step: 0,
        recovery: Vec::new().into(),
        created: Timestamp::now().into(),
    };
    second_factors::Entity::insert(second_factors::ActiveModel::from(factor))
        .exec_without_returning(ground.app.db.write())
        .await
        .unwrap();
    link(&ground, "link").await;
    assert_eq!(set(&ground, "link", "battery staple").await.status, StatusCode::NO_CONTENT);
    assert_eq!(log_in(&ground, "battery staple").await.code(), Code::CodeNeeded);
}
