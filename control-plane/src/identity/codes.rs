//! Codes of a second factor: those that an app shows (TOTP, RFC 6238), each good once, and recovery codes for when the app
//! is lost. Who reads the database alone can make neither: an app's secret is a keyed hash of the nonce that is kept, and
//! recovery codes are kept as keyed hashes.
//!
//! A log-in whose password was right leaves a challenge with the browser, in a cookie: `<user>.<until>.<code>`, where the
//! code is a keyed hash, too. Nothing is stored, and a changed password or second factor ends it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::api::{RecoveryCodes, SecondFactorSecret};
use protocol::headers::CHALLENGE_COOKIE;
use protocol::{Timestamp, UserId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _};
use subtle::ConstantTimeEq as _;
use totp_rs::{Builder, Secret, Totp};

use super::credentials::random;
use crate::db::Mutation;
use crate::db::columns::{Col, signed};
use crate::db::entities::{second_factors, users};
use crate::error::{Error, Result};

/// Bytes of an app's secret (RFC 4226).
const SECRET_SIZE: usize = 20;
/// Recovery codes of a user.
const RECOVERY_CODES: usize = 10;
/// Random bytes of one.
const RECOVERY_SIZE: usize = 10;
/// The second step of a log-in comes within so long.
const CHALLENGE_AGE: Duration = Duration::from_secs(5 * 60);
/// What is longer is none.
const CHALLENGE_LENGTH_MAX: usize = 200;
const CHALLENGE_PATH: &str = "/api/v1/sessions";

/// Makes and checks codes.
pub(crate) struct Codes {
    key: [u8; 32],
}

/// What a user has proven with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The app.
    App,
    /// A recovery code, which is gone now.
    Recovery,
}

/// The user's second factor, confirmed or not.
pub(crate) async fn of<C: ConnectionTrait>(
    connection: &C,
    user: UserId,
) -> Result<Option<second_factors::Model>, DbErr> {
    second_factors::Entity::find_by_id(Col(user)).one(connection).await
}

/// The user's second factor, where log-ins ask for it.
pub(crate) async fn confirmed<C: ConnectionTrait>(
    connection: &C,
    user: UserId,
) -> Result<Option<second_factors::Model>, DbErr> {
    Ok(of(connection, user).await?.filter(|row| row.confirmed.is_some()))
}

impl Codes {
    /// With a secret that all control planes share.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    fn hash(&self, what: &str, user: UserId, of: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, format!("{what}\n{user}\n{of}").as_bytes())
    }

    fn totp(&self, row: &second_factors::Model) -> Result<Totp> {
        let secret = self.hash("secret", row.user_id.0, &row.nonce);
        let totp = Builder::new().with_secret(&secret.as_bytes()[..SECRET_SIZE]).build();
        totp.map_err(|error| Error::Internal(error.to_string()))
    }

    /// What the app of the user with this address is told. Of steps, digits and hash it takes what all apps take.
    pub(crate) fn told(&self, row: &second_factors::Model, email: &str) -> Result<SecondFactorSecret> {
        let secret = self.totp(row)?.secret().to_base32();
        let email: String = form_urlencoded::byte_serialize(email.as_bytes()).collect();
        let url = format!("otpauth://totp/CrowdCloud:{email}?secret={secret}&issuer=CrowdCloud");
        Ok(SecondFactorSecret { secret, url })
    }

    /// Uses a code of the app up, in this mutation, which has read the row; false where it is none, or was used.
    pub(crate) async fn spend_code(
        &self,
        mutation: &Mutation,
        row: &second_factors::Model,
        typed: &str,
    ) -> Result<bool> {
        let digits: String = typed.chars().filter(|character| !character.is_whitespace()).collect();
        let seconds = u64::try_from(mutation.at().0 / 1000).unwrap_or(0);
        let step = self.totp(row)?.check(&digits, seconds).map(signed).filter(|step| *step > row.last_step);
        let Some(step) = step else { return Ok(false) };
        let used = second_factors::ActiveModel { last_step: Set(step), ..Default::default() };
        change(mutation, row, used).await?;
        Ok(true)
    }

    /// Uses a code of the app or a recovery code up, in this mutation, which has read the row; nothing where it is neither.
    pub(crate) async fn spend(
        &self,
        mutation: &Mutation,
        row: &second_factors::Model,
        typed: &str,
    ) -> Result<Option<Proof>> {
        if self.spend_code(mutation, row, typed).await? {
            return Ok(Some(Proof::App));
        }
        let typed = self.recovery_hash(row.user_id.0, typed);
        let left: Vec<String> = row.recovery.iter().filter(|kept| **kept != typed).cloned().collect();
        if left.len() == row.recovery.len() {
            return Ok(None);
        }
        let used = second_factors::ActiveModel { recovery: Set(left.into()), ..Default::default() };
        change(mutation, row, used).await?;
        Ok(Some(Proof::Recovery))
    }

    /// New recovery codes in the place of those that there are.
    pub(crate) async fn renew_recovery(
        &self,
        mutation: &Mutation,
        row: &second_factors::Model,
    ) -> Result<RecoveryCodes> {
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        let hashes: Vec<String> = codes.iter().map(|code| self.recovery_hash(row.user_id.0, code)).collect();
        let renewed = second_factors::ActiveModel { recovery: Set(hashes.into()), ..Default::default() };
        change(mutation, row, renewed).await?;
        Ok(RecoveryCodes { codes })
    }

    /// However it is typed.
    fn recovery_hash(&self, user: UserId, typed: &str) -> String {
        let letters = typed.chars().filter(|character| character.is_ascii_alphanumeric());
        let usual: String = letters.map(|character| character.to_ascii_lowercase()).collect();
        self.hash("recovery", user, &usual).to_hex().to_string()
    }

    /// The cookie of a log-in that waits for a code.
    pub(crate) fn challenge_cookie(
        &self,
        user: &users::Model,
        row: &second_factors::Model,
        now: Timestamp,
        secure: bool,
    ) -> String {
        let until = now.plus(CHALLENGE_AGE);
        let code = self.challenge_code(user, row, until);
        set_challenge(&format!("{}.{}.{code}", user.id.0, until.0), CHALLENGE_AGE, secure)
    }

    /// Whether this is a challenge of this user, with the password and the second factor of now.
    pub(crate) fn is_challenge(
        &self,
        challenge: &Challenge<'_>,
        user: &users::Model,
        row: &second_factors::Model,
        now: Timestamp,
    ) -> bool {
        let right = self.challenge_code(user, row, challenge.until);
        now <= challenge.until && bool::from(right.as_bytes().ct_eq(challenge.code.as_bytes()))
    }

    fn challenge_code(&self, user: &users::Model, row: &second_factors::Model, until: Timestamp) -> String {
        let of = format!("{}\n{}\n{}", until.0, row.nonce, user.password);
        URL_SAFE_NO_PAD.encode(self.hash("challenge", user.id.0, &of).as_bytes())
    }
}

/// A challenge as a cookie says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Challenge<'a> {
    /// Who logs in.
    pub user: UserId,
    until: Timestamp,
    code: &'a str,
}

impl<'a> Challenge<'a> {
    /// Takes the cookie's value apart.
    pub(crate) fn read(cookie: &'a str) -> Option<Self> {
        let mut parts = Some(cookie).filter(|cookie| cookie.len() <= CHALLENGE_LENGTH_MAX)?.splitn(3, '.');
        let user = parts.next()?.parse().ok()?;
        let until = Timestamp(parts.next()?.parse().ok()?);
        Some(Self { user, until, code: parts.next()? })
    }
}

/// The cookie that takes the challenge away.
pub(crate) fn clear_challenge() -> String {
    set_challenge("", Duration::ZERO, false)
}

fn set_challenge(value: &str, age: Duration, secure: bool) -> String {
    let (age, secure) = (age.as_secs(), if secure { "; Secure" } else { "" });
    format!("{CHALLENGE_COOKIE}={value}; Path={CHALLENGE_PATH}; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

/// Four groups of four letters and digits.
fn recovery_code() -> String {
    let code = Secret::from(random::<RECOVERY_SIZE>()).to_base32().to_ascii_lowercase();
    let groups: Vec<_> = code.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

async fn change(
    mutation: &Mutation,
    row: &second_factors::Model,
    changed: second_factors::ActiveModel,
) -> Result<(), DbErr> {
    let rows = second_factors::Entity::update_many().set(changed);
    rows.filter(second_factors::Column::UserId.eq(row.user_id)).exec(mutation.tx()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> users::Model {
        users::Model {
            id: UserId::new().into(),
            email: "ada@example.org".to_owned(),
            password: "hash".to_owned(),
            operator: false,
            created: Timestamp(0).into(),
        }
    }

    fn factor(user: &users::Model, nonce: &str) -> second_factors::Model {
        second_factors::Model {
            user_id: user.id,
            nonce: nonce.to_owned(),
            confirmed: None,
            last_step: 0,
            recovery: Vec::new().into(),
            created: Timestamp(0).into(),
        }
    }

    #[test]
    fn a_challenge_is_of_one_user_password_factor_and_time() {
        let (codes, ada, eve, now) = (Codes::new([1; 32]), user(), user(), Timestamp(1_000_000));
        let row = factor(&ada, "nonce");
        let cookie = codes.challenge_cookie(&ada, &row, now, true);
        assert!(
            cookie.ends_with("; Secure") && cookie.contains("; HttpOnly; SameSite=Strict; Max-Age=300"),
            "{cookie}"
        );
        let value = cookie.strip_prefix("cc_challenge=").unwrap().split(';').next().unwrap();
        let challenge = Challenge::read(value).unwrap();
        assert_eq!(challenge.user, ada.id.0);
        assert!(codes.is_challenge(&challenge, &ada, &row, now.plus(CHALLENGE_AGE)));
        let late = now.plus(CHALLENGE_AGE + Duration::from_millis(1));
        assert!(!codes.is_challenge(&challenge, &ada, &row, late));
        assert!(!codes.is_challenge(&challenge, &eve, &row, now), "another user");
        let changed = users::Model { password: "another".to_owned(), ..ada.clone() };
        assert!(!codes.is_challenge(&challenge, &changed, &row, now), "another password");
        assert!(!codes.is_challenge(&challenge, &ada, &factor(&ada, "other"), now), "another factor");
        assert!(!Codes::new([2; 32]).is_challenge(&challenge, &ada, &row, now), "another platform");
        let prolonged = Challenge { until: late, ..challenge };
        assert!(!codes.is_challenge(&prolonged, &ada, &row, now), "another time");
        for none in ["", ".", "..", "user.1.x", &"x".repeat(1000)] {
            assert!(Challenge::read(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_an_app_is_told_is_a_url() {
        let (codes, ada) = (Codes::new([1; 32]), user());
        let told = codes.told(&factor(&ada, "nonce"), "a:b+c@example.org").unwrap();
        assert_eq!(told.secret.len(), 32);
        let expected = format!("CrowdCloud:a%3Ab%2Bc%40example.org?secret={}&issuer=CrowdCloud", told.secret);
        assert_eq!(told.url, format!("otpauth://totp/{expected}"));
        let other = codes.told(&factor(&ada, "other"), "a@example.org").unwrap();
        assert_ne!(told.secret, other.secret, "set up anew it is another secret");
    }

    #[test]
    fn recovery_codes_are_known_however_they_are_typed() {
        let (codes, ada) = (Codes::new([1; 32]), user());
        let code = recovery_code();
        assert_eq!(code.len(), 19, "{code}");
        let typed = format!(" {} ", code.replace('-', " ").to_uppercase());
        assert_eq!(codes.recovery_hash(ada.id.0, &code), codes.recovery_hash(ada.id.0, &typed));
        assert_ne!(code, recovery_code());
    }
}
