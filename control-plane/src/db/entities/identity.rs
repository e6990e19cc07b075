//! Who: users, accounts, members, invitations, and the two kinds of credentials.

use protocol::api::{AccountKind, Role};
use protocol::route::Scope;
use protocol::{AccountId, FunctionId, InvitationId, KeyId, Name, SessionId, Timestamp, UserId};

use crate::db::columns::Col;

table! {
    /// People who log in.
    users = "users" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<UserId>,
        email: String,
        password: String,
        operator: bool,
        created: Col<Timestamp>,
    }
}

table! {
    /// What owns everything else. A deleted one stays as a row, for sums of usage and its name; `erased` is when all that it
    /// had was gone.
    accounts = "accounts" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<AccountId>,
        name: Col<Name>,
        kind: Col<AccountKind>,
        created: Col<Timestamp>,
        deleted: Option<Col<Timestamp>>,
        erased: Option<Col<Timestamp>>,
        vouched: Option<Col<Timestamp>>,
    }
}

table! {
    /// A user's role in an account.
    members = "members" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: Col<UserId>,
        role: Col<Role>,
        joined: Col<Timestamp>,
    }
}

table! {
    /// Links that make a member, once.
    invitations = "invitations" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<InvitationId>,
        account_id: Col<AccountId>,
        sha256: String,
        role: Col<Role>,
        email: Option<String>,
        created: Col<Timestamp>,
        expires: Col<Timestamp>,
        used_by: Option<Col<UserId>>,
        user_id: Option<Col<UserId>>,
    }
}

table! {
    /// Log-ins.
    sessions = "sessions" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<SessionId>,
        user_id: Col<UserId>,
        sha256: String,
        user_agent: String,
        created: Col<Timestamp>,
        last_used: Col<Timestamp>,
        expires: Col<Timestamp>,
    }
}

table! {
    /// API keys.
    api_keys = "api_keys" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<KeyId>,
        account_id: Col<AccountId>,
        sha256: String,
        name: String,
        scopes: Col<Vec<Scope>>,
        function_id: Option<Col<FunctionId>>,
        user_id: Option<Col<UserId>>,
        created: Col<Timestamp>,
        expires: Option<Col<Timestamp>>,
        last_used: Option<Col<Timestamp>>,
    }
}

table! {
    /// Keys that were revoked, for usage of theirs: what they were called, and whose they were last. The newest of each
    /// account.
    revoked_keys = "revoked_keys" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<KeyId>,
        account_id: Col<AccountId>,
        name: String,
        user_id: Option<Col<UserId>>,
        revoked: Col<Timestamp>,
    }
}

table! {
    /// Users' second factors. The app's secret follows from the nonce and the platform's root secret; of recovery codes the
    /// keyed hashes are kept. It is asked for once it is confirmed; codes of `last_step` and before were used.
    second_factors = "second_factors" {
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: Col<UserId>,
        nonce: String,
        confirmed: Option<Col<Timestamp>>,
        last_step: i64,
        recovery: Col<Vec<String>>,
        created: Col<Timestamp>,
    }
}

table! {
    /// Links with which a user sets a new password, the last one of each user.
    password_resets = "password_resets" {
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: Col<UserId>,
        sha256: String,
        expires: Col<Timestamp>,
    }
}
