//! Accounts, their members, and invitations.

use protocol::api::{CreateAccount, CreateInvitation, Invitation, Login, Me, Member, Membership};

use crate::args::{Accounts, List, account_kind};
use crate::context::Context;
use crate::failure::Failure;
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
            });
            Ok(())
        }
        Accounts::Create { name, company, email, password } => {
            // A key acts for one account, so it cannot make another: the user has to.
            let email = prompt::value(output, email, "E-mail address", "--email ADDRESS")?;
            let password = prompt::password(output, &password, false)?;
            let login = Login { email, password };
            let (_, session) = super::login::start_session(&context.anonymous()?, "/sessions", &login).await?;
            let made: Result<Membership, Failure> =
                session.post("/accounts", &CreateAccount { name, kind: account_kind(company) }).await;
            drop(session.delete("/sessions/current").await);
            let made = made?;
            let account = &made.account;
            output.result(&made, || format!("made the account {}", account.name));
            output.note(format!("next: crowdcloud login --account {}", account.name));
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
            output.result(&value, || link.clone());
            output.note(fields(&[("role", lower(&invitation.role)), ("ends", time(invitation.expires))]));
            Ok(())
        }
    }
}

/// A word of an enum, as the API writes it.
pub(super) fn lower(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
