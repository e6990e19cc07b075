//! Accounts, their members, and invitations.

use protocol::api::{CreateAccount, CreateInvitation, Invitation, KeysLeft, Made, Me, Member, Membership, Page};

use unicode_normalization::UnicodeNormalization as _;

use super::login::log_in;
use crate::args::{Accounts, List, account_kind};
use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{fields, table, time};
use crate::prompt;

/// `accounts`
pub(crate) async fn accounts(context: &Context, verb: Option<Accounts>) -> Result<(), Failure> {
    let output = &context.output;
    match verb.unwrap_or(Accounts::List) {
        Accounts::List => {
            let me: Me = context.client()?.get("/me").await?;
            let page = protocol::api::Page { items: me.accounts, next: None };
            output.result(&page, || {
                let rows = page.items.iter().map(|membership| {
                    let account = &membership.account;
                    [account.name.to_string(), lower(&account.kind), lower(&membership.role), time(account.created)]
                });
                table(["name", "kind", "role", "since"], rows)
            })?;
            Ok(())
        }
        Accounts::Create { name, company, credentials } => {
            // A key acts for one account, so it cannot make another: the user has to.
            let (_, session) = log_in(context, credentials).await?;
            let made: Result<Membership, Failure> =
                session.post("/accounts", &CreateAccount { name, kind: account_kind(company) }).await;
            drop(session.delete("/sessions/current").await);
            let made = made?;
            let account = &made.account;
            output.result(&made, || format!("made the account {}", account.name))?;
            output.note(format!("next: crowdcloud login --account {}", account.name));
            Ok(())
        }
        Accounts::Delete { name, credentials } => {
            output.note(format!(
                "{name}: its functions answer no more, its keys and triggers end, its jobs are cancelled, \
                its nodes leave;"
            ));
            output.note("code, queues, logs and history are erased within a day. There is no way back.");
            prompt::confirm(output, &format!("Delete the account {name}"))?;
            let (_, session) = log_in(context, credentials).await?;
            let deleted = session.delete(&format!("/accounts/{}", segment(&name))).await;
            drop(session.delete("/sessions/current").await);
            deleted?;
            output.result(&serde_json::json!({ "deleted": name }), || format!("deleted the account {name}"))?;
            Ok(())
        }
        Accounts::Members => {
            let client = context.client()?;
            super::show_page::<Member>(context, &client, "/members", &List::first(), |members| {
                let rows = members.iter().map(|member| {
                    [member.email.clone(), lower(&member.role), member.user.to_string(), time(member.joined)]
                });
                table(["member", "role", "id", "since"], rows)
            })
            .await
        }
        Accounts::Invite { email, role } => {
            let client = context.client()?;
            let invitation: Invitation = client.post("/invitations", &CreateInvitation { role, email }).await?;
            let link = format!("{}{}", context.url, invitation.path.clone().unwrap_or_default());
            let mut value = serde_json::to_value(&invitation).unwrap_or_default();
            value["link"] = link.clone().into();
            output.result(&value, || link.clone())?;
            output.note(fields(&[("role", lower(&invitation.role)), ("ends", time(invitation.expires))]));
            Ok(())
        }
        Accounts::Remove { member, take_over_keys } => remove(context, &member, take_over_keys).await,
    }
}

/// Says what a member leaves behind, asks, and removes them.
async fn remove(context: &Context, member: &str, take_over_keys: bool) -> Result<(), Failure> {
    let (output, client) = (&context.output, context.client()?);
    let found = find(&client, member).await?;
    let made: Made = client.get(&format!("/members/{}/made", found.user)).await?;
    let keys = if take_over_keys { KeysLeft::TakeOver } else { KeysLeft::Revoke };
    let ends = if take_over_keys { "goes on" } else { "ends" };
    for key in &made.keys {
        output.note(format!("the key {} ({}) {ends}", key.name, key.id));
    }
    for invitation in &made.invitations {
        output.note(format!("the invitation {} ends", invitation.id));
    }
    for trigger in &made.triggers {
        output.note(format!("the trigger {trigger} goes on: it is the account's"));
    }
    prompt::confirm(output, &format!("Remove {}", found.email))?;
    client.delete(&format!("/members/{}?keys={}", found.user, lower(&keys))).await?;
    output.result(&serde_json::json!({ "removed": found, "made": made }), || format!("removed {}", found.email))?;
    Ok(())
}

/// The member of this address or id.
async fn find(client: &Client, member: &str) -> Result<Member, Failure> {
    let mut cursor: Option<String> = None;
    loop {
        let mut path = "/members?limit=200".to_owned();
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", segment(&cursor)));
        }
        let page: Page<Member> = client.get(&path).await?;
        // However the address is typed: see the platform's own rule.
        let form = |address: &str| address.to_lowercase().nfc().collect::<String>();
        let is = |one: &Member| form(&one.email) == form(member) || one.user.to_string() == member;
        if let Some(found) = page.items.into_iter().find(is) {
            return Ok(found);
        }
        cursor = page.next;
        if cursor.is_none() {
            let failure = Failure::new(Exit::NotFound, "not_found", format!("{member} is not a member"));
            return Err(failure.help("`crowdcloud accounts members` lists them"));
        }
    }
}

/// A word of an enum, as the API writes it.
pub(super) fn lower(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
