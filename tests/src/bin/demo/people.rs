//! Who works on the platform, and what they have deployed.

use anyhow::Context as _;
use tests::browser::PASSWORD;
use tests::{Cli, DoneExt as _};

/// Examples that the company deploys, and how.
const FUNCTIONS: [(&str, &str); 5] = [
    ("hello", "--memory 16MiB --timeout 5s --public"),
    ("markdown", "--memory 64MiB --timeout 10s"),
    ("probe", "--timeout 3s"),
    ("shout", "--memory 16MiB --timeout 5s"),
    ("thumbnail", "--memory 512MiB"),
];

/// What else the owner prepares: a second version that gets a part of the calls, keys of which one ends soon, a queue with a
/// trigger, one whose messages nobody acknowledges, a schedule.
const PREPARED: [&str; 7] = [
    "aliases set hello live v1=80 v2=20",
    "keys create ci --scope deploy",
    "keys create shop --function thumbnail --expires-days 5",
    "queues set orders",
    "queues set returns --deliveries 2 --lease 2s",
    "triggers set each-order markdown --queue orders --retries 1",
    "triggers set every-minute probe '/burn?ms=200&mib=16' --cron '* * * * *'",
];

/// A company with an owner and another admin: members without that role make no keys.
pub(crate) struct Company {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) owner: Cli,
    pub(crate) owner_email: String,
    pub(crate) member_email: String,
    /// What calls come with: the owner's key, and the member's.
    pub(crate) keys: [String; 2],
}

/// Somebody with an account of their own, and one function; their address.
pub(crate) fn sign_up_personal(url: &str, account: &str) -> String {
    let cli = Cli::at(url);
    cli.signup(account);
    cli.deploy("hello", "--public");
    format!("{account}@example.com")
}

impl Company {
    /// Signs it up with all that it has.
    pub(crate) fn found(url: &str, name: &str) -> anyhow::Result<Self> {
        let (owner, member) = (Cli::at(url), Cli::at(url));
        let (owner_email, member_email) = (format!("owner@{name}.example.com"), format!("member@{name}.example.com"));
        sign_up(&owner, &owner_email, &format!("--account-name {name} --company"));
        let invitation = owner.json(&format!("accounts invite {member_email} --role admin"));
        let link = invitation["link"].as_str().context("an invitation without a link")?;
        sign_up(&member, &member_email, &format!("--invitation {link}"));
        for (example, flags) in FUNCTIONS {
            owner.deploy(example, flags);
        }
        owner.deploy("hello", "--memory 32MiB --timeout 5s --alias canary");
        for command in PREPARED {
            owner.ok(command);
        }
        let keys = [owner.token(), member.token()];
        Ok(Self { url: url.to_owned(), name: name.to_owned(), owner, owner_email, member_email, keys })
    }
}

fn sign_up(cli: &Cli, email: &str, flags: &str) {
    let line = format!("crowdcloud signup --email {email} --password-stdin {flags}");
    cli.shell_with(&line, PASSWORD.as_bytes()).ok();
}
