//! Users, accounts, members, sessions and keys.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, InvitationId, KeyId, SessionId, UserId};
use crate::names::Name;
use crate::route::Scope;
use crate::units::Timestamp;

api_types! {
    /// Personal or company.
    #[derive(Copy, Eq, Hash)]
    #[serde(rename_all = "lowercase")]
    pub enum AccountKind {
        /// One person's.
        Personal,
        /// An organisation's, with members.
        Company,
    }

    /// A user's role in an account.
    #[derive(Copy, Eq, Hash, PartialOrd, Ord)]
    #[serde(rename_all = "lowercase")]
    pub enum Role {
        /// Deploys, runs, sees own costs.
        Member,
        /// Members, keys, budgets, settings too.
        Admin,
        /// Everything.
        Owner,
    }

    /// `POST /signup`
    #[serde(deny_unknown_fields)]
    pub struct Signup {
        /// The log-in name.
        pub email: String,
        /// 10 to 128 characters, and none that is guessed first.
        pub password: String,
        /// The name of the account that is made; not needed with an invitation.
        #[serde(default)]
        pub account: Option<String>,
        /// Personal, or an organisation's.
        #[serde(default)]
        pub kind: Option<AccountKind>,
        /// Joins this account instead of making one.
        #[serde(default)]
        pub invitation: Option<String>,
        /// The one-time token that makes the operator.
        #[serde(default)]
        pub operator_token: Option<String>,
        /// What was sent to the address, where the sign-up was refused with `email_code_needed`.
        #[serde(default)]
        pub code: Option<String>,
    }

    /// `POST /sessions`
    #[serde(deny_unknown_fields)]
    pub struct Login {
        /// The log-in name.
        pub email: String,
        /// The password.
        pub password: String,
    }

    /// `GET /me`; also the answer to sign-up and log-in, which set the session cookie.
    pub struct Me {
        /// The user; none for an API key.
        pub user: Option<User>,
        /// The accounts that the user is a member of, or the key's account.
        pub accounts: Vec<Membership>,
        /// What the credential may do, where it is a key.
        pub scopes: Option<Vec<Scope>>,
    }

    /// A person who logs in.
    pub struct User {
        /// The id.
        pub id: UserId,
        /// The log-in name.
        pub email: String,
        /// May see `/operator`.
        pub operator: bool,
        /// When the user signed up.
        pub created: Timestamp,
    }

    /// An account, and the role that the asker has in it.
    pub struct Membership {
        /// The account.
        pub account: Account,
        /// The role.
        pub role: Role,
    }

    /// What owns functions, keys and credits.
    pub struct Account {
        /// The id.
        pub id: AccountId,
        /// Unique, part of functions' URLs.
        pub name: Name,
        /// Personal or company.
        pub kind: AccountKind,
        /// When it was made.
        pub created: Timestamp,
    }

    /// `POST /accounts`
    #[serde(deny_unknown_fields)]
    pub struct CreateAccount {
        /// The name.
        pub name: String,
        /// Personal or company.
        pub kind: AccountKind,
    }

    /// `PUT /me/password`
    #[serde(deny_unknown_fields)]
    pub struct ChangePassword {
        /// The old one.
        pub current: String,
        /// The new one; other sessions end.
        pub new: String,
    }

    /// `POST /password-resets`
    #[serde(deny_unknown_fields)]
    pub struct AskPasswordReset {
        /// The log-in name.
        pub email: String,
    }

    /// `POST /password-resets/use`
    #[serde(deny_unknown_fields)]
    pub struct UsePasswordReset {
        /// The link's last part.
        pub token: String,
        /// The new password; all log-ins end.
        pub password: String,
    }

    /// A log-in.
    pub struct Session {
        /// The id.
        pub id: SessionId,
        /// What the client called itself.
        pub user_agent: String,
        /// When it began.
        pub created: Timestamp,
        /// When it was last used.
        pub last_used: Timestamp,
        /// When it ends.
        pub expires: Timestamp,
        /// It is the one that asks.
        pub current: bool,
    }

    /// A user in an account.
    pub struct Member {
        /// Who.
        pub user: UserId,
        /// The log-in name.
        pub email: String,
        /// The role.
        pub role: Role,
        /// Since when.
        pub joined: Timestamp,
    }

    /// `PATCH /members/{user}`
    #[serde(deny_unknown_fields)]
    pub struct ChangeRole {
        /// The new role.
        pub role: Role,
        /// What becomes of keys that the member made and may not make with the new role; they are revoked.
        #[serde(default)]
        pub keys: KeysLeft,
    }

    /// What becomes of the keys of somebody who leaves, who may know them.
    #[derive(Copy, Eq, Hash, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum KeysLeft {
        /// They end.
        #[default]
        Revoke,
        /// They go on, as keys of whoever removes the member.
        TakeOver,
    }

    /// `GET /members/{user}/made`: what somebody leaves behind.
    pub struct Made {
        /// Keys that the member made, also with a key of theirs. Whoever knows one can use it.
        pub keys: Vec<Key>,
        /// Open invitations that the member made. They end with the membership.
        pub invitations: Vec<Invitation>,
        /// Triggers that the member set last. They are the account's, and go on.
        pub triggers: Vec<Name>,
    }

    /// `POST /invitations`
    #[serde(deny_unknown_fields)]
    pub struct CreateInvitation {
        /// The role that it gives.
        pub role: Role,
        /// A note for whom it is.
        #[serde(default)]
        pub email: Option<String>,
    }

    /// An invitation to join an account.
    pub struct Invitation {
        /// The id.
        pub id: InvitationId,
        /// The role that it gives.
        pub role: Role,
        /// For whom it is.
        pub email: Option<String>,
        /// The path of the link, `/invite/...`: shown once, when it is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub path: Option<String>,
        /// What to do where the link cannot be shown again: in answers to a repeated request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub help: Option<String>,
        /// When it ends.
        pub expires: Timestamp,
        /// When it was made.
        pub created: Timestamp,
    }

    /// `GET /invitations/by-token/{token}`: what the invited sees.
    pub struct InvitationPreview {
        /// The account.
        pub account: Name,
        /// The role.
        pub role: Role,
    }

    /// `POST /invitations/accept`
    #[serde(deny_unknown_fields)]
    pub struct AcceptInvitation {
        /// The link's last part.
        pub token: String,
    }

    /// `POST /keys`
    #[serde(deny_unknown_fields)]
    pub struct CreateKey {
        /// For people.
        pub name: String,
        /// What it may do.
        pub scopes: Vec<Scope>,
        /// Only for this function.
        #[serde(default)]
        pub function: Option<Name>,
        /// Days until it ends; none: never.
        #[serde(default)]
        pub expires_days: Option<u32>,
    }

    /// An API key.
    pub struct Key {
        /// The id.
        pub id: KeyId,
        /// For people.
        pub name: String,
        /// What it may do.
        pub scopes: Vec<Scope>,
        /// Only for this function.
        pub function: Option<Name>,
        /// The key itself, `cck_<id>_<secret>`: shown once, when it is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub secret: Option<String>,
        /// What to do where the secret cannot be shown again: in answers to a repeated request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub help: Option<String>,
        /// The address of the user who made it, or who has taken it over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub created_by: Option<String>,
        /// When it was made.
        pub created: Timestamp,
        /// When it ends.
        pub expires: Option<Timestamp>,
        /// About when it was last used.
        pub last_used: Option<Timestamp>,
    }
}
