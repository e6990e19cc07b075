//! Addresses and passwords, however their characters are typed.

use argon2::PasswordHasher as _;
use http::StatusCode;
use protocol::Code;
use protocol::api::Me;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use crate::db::entities::users;
use crate::tests::harness::Ground;

pub(super) async fn f31_the_same_characters_are_the_same(ground: Ground) {
    let composed = ("j\u{fc}rgen@b\u{fc}cher.example", "gr\u{fc}ne Wiese am Fluss");
    let decomposed = ("JU\u{308}RGEN@bu\u{308}cher.example", "gru\u{308}ne Wiese\u{a0}am Fluss");
    let nobody = ground.anonymous();
    let asked = json!({"email": decomposed.0, "password": decomposed.1, "account": "buecher"});
    assert_eq!(nobody.post("/signup", asked).await.status, StatusCode::CREATED);
    for email in [composed.0, decomposed.0] {
        for password in [composed.1, decomposed.1] {
            let login = nobody.post("/sessions", json!({"email": email, "password": password})).await;
            assert_eq!(login.status, StatusCode::CREATED, "{email:?} {password:?}");
            assert_eq!(login.read::<Me>().user.unwrap().email, composed.0);
        }
        let again = json!({"email": email, "password": composed.1, "account": "other"});
        assert_eq!(nobody.post("/signup", again).await.code(), Code::EmailTaken);
    }
    let wrong = json!({"email": composed.0, "password": "grune Wiese am Fluss"});
    assert_eq!(nobody.post("/sessions", wrong).await.code(), Code::InvalidLogin);
    let login = nobody.post("/sessions", json!({"email": composed.0, "password": composed.1})).await;
    let user = ground.anonymous().with("cookie", &login.cookie());
    let change = json!({"current": decomposed.1, "new": "blu\u{308}hende Wiese am Fluss"});
    assert_eq!(user.put("/me/password", change).await.status, StatusCode::NO_CONTENT);
    let new = json!({"email": composed.0, "password": "bl\u{fc}hende Wiese am Fluss"});
    assert_eq!(nobody.post("/sessions", new).await.status, StatusCode::CREATED);
}

pub(super) async fn f31_what_an_earlier_release_kept_still_logs_in(ground: Ground) {
    let (composed, decomposed) = ("gr\u{fc}ne Wiese am Fluss", "gru\u{308}ne Wiese am Fluss");
    ground.user("old@example.org", "old").await;
    // As it was kept: as typed, in lower case.
    let old = argon2::Argon2::default().hash_password(decomposed.as_bytes()).unwrap().to_string();
    users::Entity::update_many()
        .set(users::ActiveModel {
            email: Set("ju\u{308}rgen@example.org".to_owned()),
            password: Set(old.clone()),
            ..Default::default()
        })
        .filter(users::Column::Email.eq("old@example.org"))
        .exec(ground.app.db.write())
        .await
        .unwrap();
    let nobody = ground.anonymous();
    let login = async |email: &str, password: &str| {
        nobody.post("/sessions", json!({"email": email, "password": password})).await.status
    };
    let kept = async || users::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap().password;
    assert_eq!(
        login("j\u{fc}rgen@example.org", composed).await,
        StatusCode::UNAUTHORIZED,
        "not known to be the same yet"
    );
    assert_eq!(kept().await, old);
    assert_eq!(login("j\u{fc}rgen@example.org", decomposed).await, StatusCode::CREATED);
    let anew = kept().await;
    assert_ne!(anew, old, "it is hashed anew");
    for (email, password) in [("ju\u{308}rgen@example.org", composed), ("J\u{dc}RGEN@example.org", decomposed)] {
        assert_eq!(login(email, password).await, StatusCode::CREATED);
    }
    assert_eq!(kept().await, anew, "once");
    let taken = json!({"email": "j\u{fc}rgen@example.org", "password": composed, "account": "other"});
    assert_eq!(nobody.post("/signup", taken).await.code(), Code::EmailTaken);
}
