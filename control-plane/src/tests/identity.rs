//! Users, sessions, accounts, members, invitations, keys.

mod erased;
mod guesses;
mod resets;
mod second_factor;
mod typed;

use http::StatusCode;
use protocol::Code;
use protocol::api::{Invitation, Key, Made, Me, Member, Membership, Page, Role, Session};
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Ground, suite};
use crate::db::columns::Col;
use crate::db::entities::{invitations, outbox};
use erased::{
    a_deleted_account_is_gone, a_name_is_free_again, nodes_leave_with_their_account, nothing_of_it_stays_in_the_store,
    only_owners_delete_an_account, what_broke_off_goes_on, what_comes_after_the_end_is_void,
};
use guesses::{
    a02_long_addresses, a07_changes_of_a_password, a07_guesses_at_an_address, a07_guesses_of_a_client,
    a07_sign_ups_of_a_client, a13_known_addresses_take_as_long, a13_with_mail_a_code_is_asked_for, guessing_is_slow,
};
use resets::{
    a_changed_password_ends_a_link, a_link_sets_a_password_once, a_reset_keeps_the_second_factor,
    a13_a_reset_says_nothing_of_an_address,
};
use second_factor::{
    a_code_counts_once, a_hash_is_renewed_before_the_code, a_second_factor_asks_for_codes, codes_are_guessed_slowly,
    recovery_codes_log_in_once, what_a_second_factor_needs, what_was_there_before_stays,
};
use typed::{f31_the_same_characters_are_the_same, f31_what_an_earlier_release_kept_still_logs_in};

suite!(
    sign_up_and_log_in,
    f31_the_same_characters_are_the_same,
    f31_what_an_earlier_release_kept_still_logs_in,
    sessions,
    passwords_change,
    guessing_is_slow,
    a07_guesses_at_an_address,
    a07_guesses_of_a_client,
    a07_changes_of_a_password,
    a07_sign_ups_of_a_client,
    a02_long_addresses,
    a13_known_addresses_take_as_long,
    a13_with_mail_a_code_is_asked_for,
    a25_weak_passwords,
    operator,
    accounts_are_apart,
    roles,
    invitations,
    last_owner,
    keys,
    keys_of_members,
    a27_what_a_removed_member_made,
    a27_what_a_lowered_member_made,
    a27_an_owner_made_an_admin_keeps_no_way_back,
    a14_a_user_has_so_many_sessions,
    a_deleted_account_is_gone,
    a_name_is_free_again,
    nodes_leave_with_their_account,
    nothing_of_it_stays_in_the_store,
    only_owners_delete_an_account,
    what_broke_off_goes_on,
    what_comes_after_the_end_is_void,
    a13_a_reset_says_nothing_of_an_address,
    a_link_sets_a_password_once,
    a_changed_password_ends_a_link,
    a_reset_keeps_the_second_factor,
    a_second_factor_asks_for_codes,
    a_code_counts_once,
    a_hash_is_renewed_before_the_code,
    recovery_codes_log_in_once,
    codes_are_guessed_slowly,
    what_a_second_factor_needs,
    what_was_there_before_stays,
    foreign_sites,
    verify
);

async fn sign_up_and_log_in(ground: Ground) {
    let ada = ground.user("Ada@Example.org ", "ada").await;
    let me: Me = ada.get("/me").await.read();
    assert_eq!(me.user.as_ref().unwrap().email, "ada@example.org");
    assert_eq!(me.accounts[0].account.name.as_str(), "ada");
    assert_eq!(me.accounts[0].role, Role::Owner);
    let nobody = ground.anonymous();
    let again = json!({"email": "ada@example.org", "password": "correct horse", "account": "ada2"});
    assert_eq!(nobody.post("/signup", again).await.code(), Code::EmailTaken);
    let name = json!({"email": "bob@example.org", "password": "correct horse", "account": "ada"});
    assert_eq!(nobody.post("/signup", name).await.code(), Code::NameTaken);
    assert!(
        ground
            .anonymous()
            .post("/sessions", json!({"email": "bob@example.org", "password": "correct horse"}))
            .await
            .status
            == 401,
        "a refused sign-up makes no user"
    );
    let company = json!({"email": "c@example.org", "password": "correct horse", "account": "acme", "kind": "company"});
    let made = nobody.post("/signup", company).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert!(made.header("set-cookie").contains("HttpOnly; SameSite=Lax"));

    let login = nobody.post("/sessions", json!({"email": "ADA@example.org", "password": "correct horse"})).await;
    assert_eq!(login.status, StatusCode::CREATED);
    assert_eq!(login.read::<Me>().accounts.len(), 1);
    let wrong = nobody.post("/sessions", json!({"email": "ada@example.org", "password": "wrong horse"})).await;
    assert_eq!(wrong.code(), Code::InvalidLogin);
    let unknown = nobody.post("/sessions", json!({"email": "eve@example.org", "password": "wrong horse"})).await;
    assert_eq!(unknown.code(), Code::InvalidLogin);
    for (email, password) in [("no-at", "correct horse"), ("a@b@c", "correct horse"), ("d@example.org", "short")] {
        let asked = json!({"email": email, "password": password, "account": "dd"});
        assert_eq!(nobody.post("/signup", asked).await.code(), Code::InvalidField, "{email} {password}");
    }
}

async fn sessions(ground: Ground) {
    let first = ground.user("ada@example.org", "ada").await;
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let answer = ground.anonymous().with("user-agent", "test").post("/sessions", login).await;
    let second = ground.anonymous().with("cookie", &answer.cookie());
    let list: Page<Session> = second.get("/sessions").await.read();
    assert_eq!(list.items.len(), 2);
    let current = list.items.iter().find(|session| session.current).unwrap();
    assert_eq!(current.user_agent, "test");
    let other = list.items.iter().find(|session| !session.current).unwrap();
    assert_eq!(second.delete(&format!("/sessions/{}", other.id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(first.get("/me").await.code(), Code::InvalidKey);
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(eve.delete(&format!("/sessions/{}", current.id)).await.code(), Code::NotFound);
    let out = second.delete("/sessions/current").await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(second.get("/me").await.code(), Code::InvalidKey);
}

async fn a14_a_user_has_so_many_sessions(ground: Ground) {
    let few = Ground::on(ground.app.config.database.clone(), |config| config.sessions_max = 5).await;
    let first = few.user("ada@example.org", "ada").await;
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let mut logged_in = Vec::new();
    for _ in 0..6 {
        let answer = few.anonymous().post("/sessions", login.clone()).await;
        logged_in.push(few.anonymous().with("cookie", &answer.cookie()));
    }
    for ended in [&first, &logged_in[0]] {
        assert_eq!(ended.get("/me").await.code(), Code::InvalidKey, "the oldest go");
    }
    let list: Page<Session> = logged_in[1].get("/sessions?limit=3").await.read();
    assert_eq!(list.items.len(), 3);
    let rest = logged_in[5].get(&format!("/sessions?limit=3&cursor={}", list.next.unwrap())).await;
    let rest: Page<Session> = rest.read();
    assert_eq!((rest.items.len(), rest.next), (2, None));
    // Gateways hear of it.
    let told = outbox::Entity::find().filter(outbox::Column::Kind.eq(crate::routes_outbox::REVOKED));
    assert_eq!(told.count(few.app.db.read()).await.unwrap(), 2);
}

async fn passwords_change(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let other = ground.anonymous().post("/sessions", login.clone()).await.cookie();
    let wrong = json!({"current": "wrong horse", "new": "battery staple"});
    assert_eq!(ada.put("/me/password", wrong).await.code(), Code::InvalidLogin);
    let right = json!({"current": "correct horse", "new": "battery staple"});
    assert_eq!(ada.put("/me/password", right).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/me").await.status, StatusCode::OK, "this session stays");
    assert_eq!(ground.anonymous().with("cookie", &other).get("/me").await.status, 401, "the others end");
    assert_eq!(ground.anonymous().post("/sessions", login).await.code(), Code::InvalidLogin);
}

async fn a25_weak_passwords(ground: Ground) {
    let asked = |password: &str| json!({"email": "ada@example.org", "password": password, "account": "analytical"});
    for weak in ["1234567890", "qwertyuiop", "          ", "ada@example.org", "analytical", &"horse ".repeat(30)] {
        let refused = ground.anonymous().post("/signup", asked(weak)).await;
        assert_eq!(refused.code(), Code::InvalidField, "{weak:?}");
        assert_eq!(refused.read::<serde_json::Value>()["field"], "password");
    }
    let ada = ground.user("ada@example.org", "analytical").await;
    for weak in ["password123", "analytical1"] {
        let asked = json!({"current": "correct horse", "new": weak});
        let refused = ada.put("/me/password", asked).await;
        assert_eq!(refused.code(), Code::InvalidField, "{weak:?}");
        assert_eq!(refused.read::<serde_json::Value>()["field"], "new");
    }
}

async fn operator(ground: Ground) {
    let path = ground.folder.path().join("operator.token");
    let token = std::fs::read_to_string(&path).unwrap();
    let asked = |email: &str, account: &str, token: &str| json!({"email": email, "password": "correct horse", "account": account, "operator_token": token});
    let wrong = ground.anonymous().post("/signup", asked("eve@example.org", "eve", "guess")).await;
    assert_eq!(wrong.code(), Code::InvitationInvalid);
    let made = ground.anonymous().post("/signup", asked("op@example.org", "ops", &token)).await;
    assert!(made.read::<Me>().user.unwrap().operator);
    assert!(!path.exists(), "it is used up");
    let again = ground.anonymous().post("/signup", asked("eve@example.org", "eve", &token)).await;
    assert_eq!(again.code(), Code::InvitationInvalid);
    let op = ground.anonymous().with("cookie", &made.cookie());
    let records = crate::nodes::records::all(&ground.app.db).await.unwrap();
    assert_eq!(records[0].account, op.account().await, "the local node is the operator's");
    assert!(!ground.user("u@example.org", "uu").await.get("/me").await.read::<Me>().user.unwrap().operator);
}

async fn accounts_are_apart(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let eve = ground.user("eve@example.org", "eve").await;
    ground.function(&ada, "hello").await;
    let key = ada.key(&["admin"]).await;
    let id = ada.get("/keys").await.read::<Page<Key>>().items[0].id;
    for path in [
        "/functions/hello",
        "/functions/hello/versions",
        "/functions/hello/aliases/live",
        "/functions/hello/logs",
        "/functions/hello/usage",
    ] {
        assert_eq!(ada.get(path).await.status, StatusCode::OK, "{path}");
        assert_eq!(eve.get(path).await.code(), Code::FunctionNotFound, "{path}");
    }
    assert_eq!(eve.delete("/functions/hello").await.code(), Code::FunctionNotFound);
    assert_eq!(eve.delete(&format!("/keys/{id}")).await.code(), Code::NotFound);
    assert_eq!(eve.get("/accounts/ada").await.code(), Code::NotFound);
    assert_eq!(eve.with("x-crowdcloud-account", "ada").get("/functions").await.code(), Code::NotFound);
    assert_eq!(key.with("x-crowdcloud-account", "eve").get("/functions").await.code(), Code::Forbidden);
    // The same names may be in both.
    ground.function(&eve, "hello").await;

    let made = ada.post("/accounts", json!({"name": "ada-inc", "kind": "company"})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(ada.get("/functions").await.code(), Code::MissingAccount);
    assert_eq!(
        ada.with("x-crowdcloud-account", "ada-inc").get("/functions/hello").await.code(),
        Code::FunctionNotFound
    );
    assert_eq!(ada.with("x-crowdcloud-account", "ada").get("/functions/hello").await.status, StatusCode::OK);
    assert_eq!(ada.get("/accounts").await.read::<Page<Membership>>().items.len(), 2);
    assert_eq!(key.post("/accounts", json!({"name": "keyed", "kind": "company"})).await.code(), Code::Forbidden);
}

async fn join(ground: &Ground, owner: &super::harness::Client, email: &str, role: &str) -> super::harness::Client {
    let made = owner.post("/invitations", json!({"role": role})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let path = made.read::<Invitation>().path.unwrap();
    let token = path.strip_prefix("/invite/").unwrap();
    let asked = json!({"email": email, "password": "correct horse", "invitation": token});
    let answer = ground.anonymous().post("/signup", asked).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    ground.anonymous().with("cookie", &answer.cookie())
}

async fn roles(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    let admin = join(&ground, &owner, "admin@example.org", "admin").await;
    let member = join(&ground, &owner, "member@example.org", "member").await;
    let members: Page<Member> = member.get("/members").await.read();
    let id = |email: &str| members.items.iter().find(|member| member.email == email).unwrap().user;
    let (owner_id, admin_id, member_id) = (id("owner@example.org"), id("admin@example.org"), id("member@example.org"));

    ground.function(&member, "hello").await;
    for refused in [
        member.post("/keys", json!({"name": "k", "scopes": ["admin"]})).await,
        member.post("/invitations", json!({"role": "member"})).await,
        member.get("/invitations").await,
        member.delete(&format!("/members/{admin_id}")).await,
        member.patch(&format!("/members/{member_id}"), json!({"role": "admin"})).await,
        admin.post("/invitations", json!({"role": "owner"})).await,
        admin.patch(&format!("/members/{member_id}"), json!({"role": "owner"})).await,
        admin.patch(&format!("/members/{owner_id}"), json!({"role": "member"})).await,
        admin.delete(&format!("/members/{owner_id}")).await,
    ] {
        assert_eq!(refused.code(), Code::Forbidden, "{refused:?}");
    }
    admin.key(&["invoke"]).await;
    let raised = admin.patch(&format!("/members/{member_id}"), json!({"role": "admin"})).await;
    assert_eq!(raised.read::<Member>().role, Role::Admin);
    member.key(&["invoke"]).await;
    assert_eq!(member.delete(&format!("/members/{member_id}")).await.status, StatusCode::NO_CONTENT, "leaving");
    assert_eq!(member.get("/functions").await.code(), Code::MissingAccount);
    assert_eq!(member.with("x-crowdcloud-account", "acme").get("/functions").await.code(), Code::NotFound);
    assert_eq!(owner.delete(&format!("/members/{admin_id}")).await.status, StatusCode::NO_CONTENT);
}

async fn invitations(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    let make =
        || async { owner.post("/invitations", json!({"role": "member", "email": "x@y"})).await.read::<Invitation>() };
    let (one, two) = (make().await, make().await);
    let token = one.path.as_ref().unwrap().strip_prefix("/invite/").unwrap();
    let list: Page<Invitation> = owner.get("/invitations?limit=1").await.read();
    assert!(list.items[0].path.is_none() && list.items[0].id == two.id);
    let next: Page<Invitation> = owner.get(&format!("/invitations?limit=1&cursor={}", list.next.unwrap())).await.read();
    assert_eq!((next.items[0].id, next.next), (one.id, None));
    let preview = ground.anonymous().get(&format!("/invitations/by-token/{token}")).await;
    assert_eq!(preview.read::<serde_json::Value>(), json!({"account": "acme", "role": "member"}));

    let bob = ground.user("bob@example.org", "bob").await;
    let joined = bob.post("/invitations/accept", json!({"token": token})).await;
    assert_eq!(joined.read::<Membership>().account.name.as_str(), "acme");
    assert_eq!(bob.post("/invitations/accept", json!({"token": token})).await.code(), Code::InvitationInvalid);
    assert_eq!(bob.get("/accounts").await.read::<Page<Membership>>().items.len(), 2);

    assert_eq!(owner.delete(&format!("/invitations/{}", two.id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(owner.delete(&format!("/invitations/{}", two.id)).await.code(), Code::NotFound);
    let token = two.path.as_ref().unwrap().strip_prefix("/invite/").unwrap();
    assert_eq!(bob.post("/invitations/accept", json!({"token": token})).await.code(), Code::InvitationInvalid);
}

async fn last_owner(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    let id = owner.get("/me").await.read::<Me>().user.unwrap().id;
    let path = format!("/members/{id}");
    assert_eq!(owner.patch(&path, json!({"role": "member"})).await.code(), Code::LastOwner);
    assert_eq!(owner.delete(&path).await.code(), Code::LastOwner);
    // Two owners that leave at the same moment: one stays.
    let second = join(&ground, &owner, "second@example.org", "owner").await;
    let second_path = format!("/members/{}", second.get("/me").await.read::<Me>().user.unwrap().id);
    let (one, two) = tokio::join!(owner.delete(&path), second.delete(&second_path));
    let gone = [one, two].iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count();
    assert_eq!(gone, 1);
}

async fn keys(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    ground.function(&ada, "other").await;
    let made =
        ada.post("/keys", json!({"name": "ci", "scopes": ["deploy"], "function": "hello", "expires_days": 1})).await;
    let key: Key = made.read();
    let secret = key.secret.clone().unwrap();
    assert!(secret.starts_with("cck_") && key.expires.is_some());
    let client = ada.with_key(&secret);
    assert_eq!(client.get("/functions/hello").await.status, StatusCode::OK);
    assert_eq!(client.get("/functions/other").await.code(), Code::FunctionNotFound);
    let seen: Page<protocol::api::Function> = client.get("/functions").await.read();
    assert_eq!(seen.items.len(), 1);
    assert_eq!(client.post("/functions", json!({"name": "new-one"})).await.code(), Code::Forbidden);
    assert_eq!(client.get("/keys").await.code(), Code::Forbidden);
    let version = ground.deployed(&client, "hello").await;
    assert_eq!(version.created_by, "the key ci");
    let made = ada.post("/keys", json!({"name": "caller", "scopes": ["invoke"], "function": "hello"})).await;
    let caller = ada.with_key(&made.read::<Key>().secret.unwrap());
    assert_eq!(caller.get("/functions").await.code(), Code::Forbidden);
    assert_eq!(caller.get("/functions/hello").await.code(), Code::Forbidden);

    let reader = ada.key(&["read"]).await;
    assert_eq!(reader.get("/functions/other").await.status, StatusCode::OK);
    assert_eq!(reader.delete("/functions/other").await.code(), Code::Forbidden);
    assert_eq!(ada.key(&["invoke"]).await.get("/functions").await.code(), Code::Forbidden);

    let list: Page<Key> = ada.get("/keys").await.read();
    let listed = list.items.iter().find(|listed| listed.id == key.id).unwrap();
    assert!(listed.secret.is_none() && listed.last_used.is_some());
    assert_eq!(listed.function.as_ref().unwrap().as_str(), "hello");
    assert_eq!(ada.delete(&format!("/keys/{}", key.id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get("/functions/hello").await.code(), Code::InvalidKey);
    for wrong in [
        json!({"name": "", "scopes": ["read"]}),
        json!({"name": "k", "scopes": []}),
        json!({"name": "k", "scopes": ["admin"], "function": "hello"}),
        json!({"name": "k", "scopes": ["read"], "expires_days": 0}),
        json!({"name": "k", "scopes": ["everything"]}),
    ] {
        assert_eq!(ada.post("/keys", wrong.clone()).await.code(), Code::InvalidField, "{wrong}");
    }
}

/// A member's command line works with a key that may do what the member may; it ends with a log-out.
async fn keys_of_members(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    ground.function(&owner, "hello").await;
    let member = join(&ground, &owner, "member@example.org", "member").await;
    let of_owner: Key = owner.post("/keys", json!({"name": "ci", "scopes": ["invoke"]})).await.read();
    let made = member.post("/keys", json!({"name": "laptop", "scopes": ["deploy"]})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let (first, second): (Key, Key) =
        (made.read(), member.post("/keys", json!({"name": "phone", "scopes": ["read", "invoke"]})).await.read());
    let client = member.with_key(first.secret.as_ref().unwrap());
    assert_eq!(client.get("/functions/hello").await.status, StatusCode::OK);

    let path = |key: &Key| format!("/keys/{}", key.id);
    for refused in [
        member.post("/keys", json!({"name": "k", "scopes": ["read", "admin"]})).await,
        // Only people hand on what they may.
        client.post("/keys", json!({"name": "k", "scopes": ["read"]})).await,
        member.delete(&path(&of_owner)).await,
        client.delete(&path(&second)).await,
        client.delete(&path(&of_owner)).await,
    ] {
        assert_eq!(refused.code(), Code::Forbidden, "{refused:?}");
    }
    assert_eq!(client.delete(&path(&first)).await.status, StatusCode::NO_CONTENT, "a key ends itself");
    assert_eq!(client.get("/functions").await.code(), Code::InvalidKey);
    assert_eq!(member.delete(&path(&second)).await.status, StatusCode::NO_CONTENT, "one's own");
}

async fn a27_what_a_removed_member_made(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    ground.function(&owner, "hello").await;
    let user = async |client: &super::harness::Client| client.get("/me").await.read::<Me>().user.unwrap().id;
    for take_over in [false, true] {
        let email = format!("{take_over}@example.org");
        let admin = join(&ground, &owner, &email, "admin").await;
        let id = user(&admin).await;
        // A key, a key made with that key, and one with which nothing is made.
        let first = admin.key(&["admin"]).await;
        let second = first.key(&["deploy"]).await;
        let mine = owner.key(&["read"]).await;
        let trigger = json!({"cron": "@yearly", "job": {"function": "hello"}});
        assert_eq!(second.put("/triggers/nightly", trigger).await.status, StatusCode::OK);
        let invited: Invitation = admin.post("/invitations", json!({"role": "admin"})).await.read();
        let token = invited.path.unwrap().strip_prefix("/invite/").unwrap().to_owned();

        let made: Made = owner.get(&format!("/members/{id}/made")).await.read();
        assert_eq!((made.keys.len(), made.invitations.len()), (2, 1), "{made:?}");
        assert!(made.keys.iter().all(|key| key.created_by.as_ref() == Some(&email) && key.secret.is_none()));
        assert_eq!(made.triggers[0].as_str(), "nightly");
        let path = if take_over { format!("/members/{id}?keys=take_over") } else { format!("/members/{id}") };
        assert_eq!(owner.delete(&path).await.status, StatusCode::NO_CONTENT);

        for key in [&first, &second] {
            let status = if take_over { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(key.get("/functions").await.status, status);
        }
        assert_eq!(mine.get("/functions").await.status, StatusCode::OK);
        let back = json!({"email": "back@example.org", "password": "correct horse", "invitation": token});
        assert_eq!(ground.anonymous().post("/signup", back).await.code(), Code::InvitationInvalid);
        let trigger: protocol::trigger::Trigger = owner.get("/triggers/nightly").await.read();
        assert_eq!(trigger.set_by.as_deref(), Some("owner@example.org"), "triggers are the account's");
        let mine: Made = owner.get(&format!("/members/{}/made", user(&owner).await)).await.read();
        assert!(mine.keys.iter().all(|key| key.created_by.as_deref() == Some("owner@example.org")));
    }
    // Whoever leaves takes their keys along, and leaves nobody in charge of them.
    let admin = join(&ground, &owner, "leaves@example.org", "admin").await;
    let key = admin.key(&["admin"]).await;
    let path = format!("/members/{}", user(&admin).await);
    assert_eq!(admin.delete(&format!("{path}?keys=take_over")).await.code(), Code::InvalidField);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(key.get("/functions").await.code(), Code::InvalidKey);
}

async fn a27_what_a_lowered_member_made(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    let admin = join(&ground, &owner, "admin@example.org", "admin").await;
    let id = admin.get("/me").await.read::<Me>().user.unwrap().id;
    let (all, some) = (admin.key(&["admin"]).await, admin.key(&["deploy"]).await);
    let invited: Invitation = admin.post("/invitations", json!({"role": "admin"})).await.read();
    let path = format!("/members/{id}");
    assert_eq!(owner.patch(&path, json!({"role": "member"})).await.status, StatusCode::OK);
    assert_eq!(all.get("/functions").await.code(), Code::InvalidKey, "more than a member may do");
    assert_eq!(some.get("/functions").await.status, StatusCode::OK);
    let token = invited.path.unwrap().strip_prefix("/invite/").unwrap().to_owned();
    assert_eq!(admin.post("/invitations/accept", json!({"token": token})).await.code(), Code::InvitationInvalid);
    // Nor by way of somebody who sees more than they may.
    let other = join(&ground, &owner, "other@example.org", "member").await;
    assert_eq!(other.get(&format!("{path}/made")).await.code(), Code::Forbidden);
}

async fn a27_an_owner_made_an_admin_keeps_no_way_back(ground: Ground) {
    let ada = ground.user("ada@example.org", "acme").await;
    let eve = join(&ground, &ada, "eve@example.org", "owner").await;
    let id = eve.get("/me").await.read::<Me>().user.unwrap().id;
    let mut tokens = Vec::new();
    for role in ["owner", "admin", "member"] {
        let made: Invitation = eve.post("/invitations", json!({"role": role})).await.read();
        tokens.push(made.path.unwrap().strip_prefix("/invite/").unwrap().to_owned());
    }
    assert_eq!(ada.patch(&format!("/members/{id}"), json!({"role": "admin"})).await.status, StatusCode::OK);
    let accept = async |token: &str| eve.post("/invitations/accept", json!({"token": token})).await;
    assert_eq!(accept(&tokens[0]).await.code(), Code::InvitationInvalid);
    for token in &tokens[1..] {
        assert_eq!(accept(token).await.status, StatusCode::CREATED, "what an admin may give stays open");
    }
    assert_eq!(eve.get("/accounts").await.read::<Page<Membership>>().items[0].role, Role::Admin);

    // Of an earlier release: a link that has outlived the role that it was made with.
    let made: Invitation = eve.post("/invitations", json!({"role": "admin"})).await.read();
    invitations::Entity::update_many()
        .col_expr(invitations::Column::Role, Col(Role::Owner).into())
        .filter(invitations::Column::Id.eq(Col(made.id)))
        .exec(ground.app.db.write())
        .await
        .unwrap();
    let token = made.path.unwrap().strip_prefix("/invite/").unwrap().to_owned();
    assert_eq!(accept(&token).await.code(), Code::InvitationInvalid);
}

async fn foreign_sites(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let asked = json!({"name": "hello"});
    let evil = ada.with("sec-fetch-site", "cross-site");
    assert_eq!(evil.post("/functions", asked.clone()).await.code(), Code::CrossSite);
    let sibling = ada.with("origin", "http://f--a.localhost:8080").with("host", "localhost:8080");
    assert_eq!(sibling.post("/functions", asked.clone()).await.code(), Code::CrossSite);
    assert_eq!(evil.get("/functions").await.status, StatusCode::OK, "reading changes nothing");
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let foreign = ground.anonymous().with("sec-fetch-site", "cross-site");
    assert_eq!(foreign.post("/sessions", login).await.code(), Code::CrossSite);
    let key = ada.key(&["deploy"]).await.with("sec-fetch-site", "cross-site");
    assert_eq!(key.post("/functions", asked.clone()).await.status, StatusCode::CREATED, "a key is no cookie");
    let same = ada.with("sec-fetch-site", "same-origin");
    assert_eq!(same.post("/functions", json!({"name": "hello2"})).await.status, StatusCode::CREATED);
}

async fn verify(ground: Ground) {
    use crate::identity::credentials::sha256_hex;
    let ada = ground.user("ada@example.org", "ada").await;
    let (function, _) = ground.function(&ada, "hello").await;
    let key: Key = ada.post("/keys", json!({"name": "k", "scopes": ["invoke"], "function": "hello"})).await.read();
    let core = ground.anonymous();
    let ask = |sha256: String, account: Option<&str>| {
        core.send(
            http::Method::POST,
            "/internal/credentials/verify",
            Some(json!({"sha256": sha256, "account": account})),
        )
    };
    let sha256 = sha256_hex(key.secret.unwrap().as_bytes());
    let answer = ask(sha256.clone(), None).await;
    let grant: protocol::route::Grant = answer.read();
    assert_eq!((grant.account, grant.function), (ada.account().await, Some(function)));
    assert!(grant.allows(protocol::route::Scope::Invoke) && !grant.allows(protocol::route::Scope::Read));
    assert_eq!(ask(sha256_hex(b"guess"), None).await.code(), Code::InvalidKey);
    ada.delete(&format!("/keys/{}", key.id)).await;
    assert_eq!(ask(sha256, None).await.code(), Code::InvalidKey);

    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let cookie = core.post("/sessions", login).await.cookie();
    let session = sha256_hex(cookie.split_once('=').unwrap().1.as_bytes());
    assert!(ask(session.clone(), Some("ada")).await.read::<protocol::route::Grant>().expires.is_some());
    assert_eq!(ask(session, Some("someone-else")).await.code(), Code::NotFound);
}
