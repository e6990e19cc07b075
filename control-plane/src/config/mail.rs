//! Links for new passwords, codes for signing up, and the mails that carry them. What is wrong with an option is said before anything starts.

use std::str::FromStr;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use protocol::Millis;

/// The server answers each command within so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How links for new passwords and codes for signing up go out, and how many.
#[derive(Debug, Clone, clap::Args)]
pub struct MailOptions {
    /// The server that takes mails, such as `smtps://user:password@mail.example.org`. Without one, links for new passwords
    /// are lines of the log, and nobody who signs up has to show that the address is theirs.
    #[arg(long, env = "CROWDCLOUD_SMTP_URL", hide_env_values = true, requires = "mail_from")]
    pub smtp_url: Option<SmtpUrl>,
    /// Who mails are from, such as `CrowdCloud <cloud@example.org>`.
    #[arg(long, env = "CROWDCLOUD_MAIL_FROM", requires = "portal_url")]
    pub mail_from: Option<Mailbox>,
    /// Where browsers find the portal, such as `https://cloud.example.org`: links in mails begin with it.
    #[arg(long, env = "CROWDCLOUD_PORTAL_URL")]
    pub portal_url: Option<String>,
    /// Links for a new password that one client asks for, and links and codes for signing up for one e-mail address, at
    /// once, and in each `resets_window`; then 429.
    #[arg(long, default_value_t = 5)]
    pub resets_max: u32,
    /// See `resets_max`.
    #[arg(long, default_value = "1h")]
    pub resets_window: Millis,
}

/// The server that takes mails: `smtps://user:password@host`, or `smtp://host:587?tls=required`. No `Debug` shows it.
#[derive(Clone)]
pub struct SmtpUrl(String);

impl SmtpUrl {
    /// The way to the server. Nothing is connected yet.
    pub(crate) fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        Ok(AsyncSmtpTransport::<Tokio1Executor>::from_url(&self.0)?.timeout(Some(ANSWER_WITHIN)).build())
    }
}

impl FromStr for SmtpUrl {
    type Err = lettre::transport::smtp::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Self(text.to_owned());
        url.transport().map(|_| url)
    }
}

impl std::fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SmtpUrl(..)")
    }
}
