//! Who changed what.

use protocol::api::{AuditEntry, Page};
use protocol::csv;

use crate::args::{Audit, AuditList, List};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{table, time, write_out};

/// Rows of a page of what is listed whole.
const PAGE_ROWS: u32 = 200;

/// `audit`
pub(crate) async fn audit(context: &Context, verb: Audit) -> Result<(), Failure> {
    let Audit::List(args) = verb;
    let client = context.client()?;
    if args.csv {
        return all_as_csv(&client, &args).await;
    }
    super::show_page::<AuditEntry>(context, &client, &path(&args), &args.list, |entries| {
        let rows = entries.iter().map(|entry| {
            let who = entry.actor_name.clone().unwrap_or_else(|| entry.actor.clone());
            [time(entry.at), who, entry.action.clone(), entry.subject.clone()]
        });
        table(["at", "who", "action", "subject"], rows)
    })
    .await
}

/// Page by page, so that nothing is held of what may be long.
async fn all_as_csv(client: &Client, args: &AuditList) -> Result<(), Failure> {
    let path = path(args);
    write_out(csv::line(["revision", "at", "actor", "actor_name", "action", "subject"]).as_bytes())?;
    let mut list = List { limit: PAGE_ROWS, cursor: None };
    loop {
        let page: Page<AuditEntry> = client.get(&super::paged(&path, &list)).await?;
        let lines: String = page.items.into_iter().map(line).collect();
        write_out(lines.as_bytes())?;
        list.cursor = page.next;
        if list.cursor.is_none() {
            return Ok(());
        }
    }
}

fn line(entry: AuditEntry) -> String {
    let AuditEntry { revision, at, actor, actor_name, action, subject } = entry;
    csv::line([revision.to_string(), at.to_string(), actor, actor_name.unwrap_or_default(), action, subject])
}

/// Where it is asked for.
fn path(args: &AuditList) -> String {
    let given = [("actor", &args.actor), ("action", &args.action), ("subject", &args.subject)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    super::queried("/audit", &given.chain(args.period.query()).collect::<Vec<_>>())
}
