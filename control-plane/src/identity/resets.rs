//! Links for a new password, and codes for signing up. Whether somebody has the address that one is asked for is looked up
//! later, by a task: neither the answer nor its time says so. A link is good for an hour, once; it goes out as a mail, or,
//! where no server for mails is set, as a line of the operator's log. Codes are asked for only where mails go out; an
//! address that has a user already is told so instead.

use std::collections::VecDeque;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use parking_lot::Mutex;
use protocol::api::UsePasswordReset;
use protocol::{Code, Timestamp, UserId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::credentials::{secret, sha256_hex};
use super::limiter::Key;
use super::mail_codes::MailCodes;
use super::passwords::Passwords;
use super::sessions;
use super::signup::{by_address, parse_email};
use super::tries::{Client, Tries};
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::{password_resets, users};
use crate::db::{Actor, Committed, Db, Mutation};
use crate::error::{Error, Result, StartError, refuse, refuse_field};

/// Addresses that wait to be looked up.
const WAITING_MAX: usize = 256;
/// A link is good for so long.
const AGE: Duration = Duration::from_secs(3600);

/// What an address is to be sent.
enum Asked {
    Link(String),
    Code(String),
}

/// Links and codes on their way.
pub(crate) struct Resets {
    waiting: Mutex<VecDeque<Asked>>,
    wake: Notify,
    mailer: Option<Mailer>,
    codes: MailCodes,
}

struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    portal: String,
}

impl Resets {
    /// With the configuration's way for mails, and a secret that all control planes share.
    pub(crate) fn new(config: &Config, key: [u8; 32]) -> Result<Self, StartError> {
        let mailer = match (&config.mail.smtp_url, &config.mail.mail_from, &config.mail.portal_url) {
            (Some(url), Some(from), Some(portal)) => {
                let transport = url.transport().map_err(|error| StartError::Lost(format!("--smtp-url: {error}")))?;
                Some(Mailer { transport, from: from.clone(), portal: portal.trim_end_matches('/').to_owned() })
            }
            _ => None,
        };
        Ok(Self { waiting: Mutex::default(), wake: Notify::new(), mailer, codes: MailCodes::new(key) })
    }

    /// `POST /password-resets`
    pub(crate) fn ask(&self, tries: &Tries, client: Client, typed: &str) -> Result<()> {
        tries.reset(&parse_email(typed)?, client)?;
        self.wait(Asked::Link(typed.to_owned()))
    }

    /// Whether whoever signs up has to show that the address is theirs.
    pub(crate) fn asks_for_codes(&self) -> bool {
        self.mailer.is_some()
    }

    /// `POST /signup` without a code: how many a client asks for is counted as its sign-ups.
    pub(crate) fn ask_code(&self, tries: &Tries, typed: &str) -> Result<()> {
        tries.mail_to(&parse_email(typed)?)?;
        self.wait(Asked::Code(typed.to_owned()))
    }

    /// What is sent to the address now.
    pub(crate) fn code_for(&self, email: &str) -> String {
        self.codes.make(email, Timestamp::now())
    }

    /// Whether this is a code that was sent to the address.
    pub(crate) fn is_code(&self, email: &str, typed: &str) -> bool {
        self.codes.holds(email, typed, Timestamp::now())
    }

    fn wait(&self, asked: Asked) -> Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MAX {
            return Err(refuse(Code::RateLimited, "Too many links and codes are asked for at this moment."));
        }
        waiting.push_back(asked);
        self.wake.notify_one();
        Ok(())
    }

    /// Sends what is asked for, until it is stopped.
    pub(crate) async fn run(&self, db: &Db, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.wake.notified()).await.is_some() {
            // A slow server holds up no stop.
            stop.run_until_cancelled(self.send_waiting(db)).await;
        }
    }

    /// Sends what has been asked for.
    pub(crate) async fn send_waiting(&self, db: &Db) {
        loop {
            let Some(asked) = self.waiting.lock().pop_front() else { return };
            let sent = match &asked {
                Asked::Link(typed) => self.send(db, typed).await,
                Asked::Code(typed) => self.send_code(db, typed).await,
            };
            if let Err(error) = sent {
                tracing::warn!(%error, "a link for a new password, or a code, could not be sent");
            }
        }
    }

    async fn send_code(&self, db: &Db, typed: &str) -> Result<()> {
        let Some(mailer) = &self.mailer else { return Ok(()) };
        let email = parse_email(typed)?;
        let (subject, text) = match by_address(db.read(), typed).await? {
            Some(_) => (
                "You have a log-in for CrowdCloud",
                format!(
                    "Somebody wanted to sign up as {email}, which has a log-in already. If it was you, log in:\n\n\
                     {}/login\n\nOtherwise there is nothing to do.\n",
                    mailer.portal
                ),
            ),
            None => (
                "Your code for CrowdCloud",
                format!(
                    "Somebody signs up for CrowdCloud as {email}. If it is you, this code shows it within half an hour:\n\n\
                     {}\n\nOtherwise there is nothing to do.\n",
                    self.code_for(&email)
                ),
            ),
        };
        mailer.mail(&email, subject, text).await.map_err(|error| Error::Internal(error.to_string()))
    }

    async fn send(&self, db: &Db, typed: &str) -> Result<()> {
        let Some(user) = by_address(db.read(), typed).await? else { return Ok(()) };
        let token = secret();
        let mutation = db.mutation().await?;
        forget(&mutation, user.id.0).await?;
        password_resets::Entity::insert(password_resets::ActiveModel {
            user_id: Set(user.id),
            sha256: Set(sha256_hex(token.as_bytes())),
            expires: Set(mutation.at().plus(AGE).into()),
        })
        .exec_without_returning(mutation.tx())
        .await?;
        mutation.commit(&Actor::platform(), None, "password_reset.ask", user.id.0).await.map(drop)?;
        match &self.mailer {
            Some(mailer) => mailer.send(&user.email, &token).await.map_err(|error| Error::Internal(error.to_string())),
            None => {
                tracing::warn!(email = user.email, link = format!("/reset/{token}"), "a new password was asked for");
                Ok(())
            }
        }
    }
}

impl Mailer {
    async fn send(&self, email: &str, token: &str) -> anyhow::Result<()> {
        let link = format!("{}/reset/{token}", self.portal);
        let text = format!(
            "Somebody has asked for a new password for {email}. If it was you, set it here within an hour:\n\n{link}\n\n\
             Otherwise there is nothing to do: your password stays as it is.\n"
        );
        self.mail(email, "A new password for CrowdCloud", text).await
    }

    async fn mail(&self, email: &str, subject: &str, text: String) -> anyhow::Result<()> {
        let message = Message::builder().from(self.from.clone()).to(email.parse()?);
        self.transport.send(message.subject(subject).body(text)?).await?;
        Ok(())
    }
}

/// `POST /password-resets/use`: all log-ins of the user end; a second factor stays.
pub(crate) async fn use_link(db: &Db, passwords: &Passwords, asked: &UsePasswordReset) -> Result<Committed> {
    Passwords::check(&asked.password, "password")?;
    let user = found(db.read(), &asked.token, Timestamp::now()).await?.ok_or_else(gone)?;
    let who = Key::of_user(user.id.0);
    let password = passwords.hash(who, &asked.password, "password", &[user.email.as_str()]).await?;
    let mut mutation = db.mutation().await?;
    let user = found(mutation.tx(), &asked.token, mutation.at()).await?.ok_or_else(gone)?;
    forget(&mutation, user.id.0).await?;
    users::Entity::update_many()
        .set(users::ActiveModel { password: Set(password), ..Default::default() })
        .filter(users::Column::Id.eq(user.id))
        .exec(mutation.tx())
        .await?;
    sessions::end_others(&mut mutation, user.id.0, None).await?;
    Ok(mutation.commit(&Actor(user.id.to_string()), None, "user.password_reset", user.id.0).await?)
}

/// Ends the user's link, where there is one.
pub(super) async fn forget(mutation: &Mutation, user: UserId) -> Result<(), DbErr> {
    password_resets::Entity::delete_by_id(Col(user)).exec(mutation.tx()).await.map(drop)
}

fn gone() -> Error {
    refuse_field(Code::ResetInvalid, "token", "The link is unknown, was used, or is older than an hour.")
}

/// Whose link this is, while it is good.
async fn found<C: ConnectionTrait>(connection: &C, token: &str, now: Timestamp) -> Result<Option<users::Model>, DbErr> {
    let of_token = password_resets::Column::Sha256.eq(sha256_hex(token.as_bytes()));
    let in_time = password_resets::Column::Expires.gt(Col(now));
    let row = password_resets::Entity::find().filter(of_token).filter(in_time).one(connection).await?;
    match row {
        Some(row) => users::Entity::find_by_id(row.user_id).one(connection).await,
        None => Ok(None),
    }
}
