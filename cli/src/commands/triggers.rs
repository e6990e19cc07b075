//! Triggers: listed, set, deleted.

use protocol::trigger::{SetTrigger, Trigger};
use reqwest::Method;

use crate::args::{List, Triggers};
use crate::client::segment;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{fields, table, time};

/// `triggers`
pub(crate) async fn triggers(context: &Context, verb: Option<Triggers>) -> Result<(), Failure> {
    let client = context.client()?;
    match verb.unwrap_or_else(|| Triggers::List(List::first())) {
        Triggers::List(list) => {
            super::show_page::<Trigger>(context, &client, "/triggers", &list, |triggers| {
                let rows = triggers.iter().map(|one| {
                    [
                        one.name.to_string(),
                        when(one),
                        one.job.function.clone(),
                        next(one),
                        one.last.map_or_else(|| "-".to_owned(), time),
                        one.error.clone().unwrap_or_default(),
                    ]
                });
                table(["trigger", "when", "function", "next", "last", "error"], rows)
            })
            .await
        }
        Triggers::Show { name } => {
            let one: Trigger = client.get(&format!("/triggers/{}", segment(&name))).await?;
            context.output.result(&one, || show(&one))?;
            Ok(())
        }
        Triggers::Set { name, cron, queue, zone, missed, paused, job } => {
            let job = super::jobs::body(&client, &job).await?;
            let asked = SetTrigger { cron, queue, zone, missed, paused, job };
            let path = format!("/triggers/{}", segment(&name));
            let one: Trigger = client.change(Method::PUT, &path, &asked).await?;
            context.output.result(&one, || {
                format!("{} {}", one.name, if one.queue.is_some() { when(&one) } else { next(&one) })
            })?;
            Ok(())
        }
        Triggers::Delete { name } => client.delete(&format!("/triggers/{}", segment(&name))).await,
    }
}

fn when(one: &Trigger) -> String {
    match (&one.cron, &one.queue) {
        (Some(cron), _) => format!("{cron} ({})", one.zone),
        (None, queue) => format!("queue {}", queue.as_ref().map_or("-", protocol::Name::as_str)),
    }
}

fn next(one: &Trigger) -> String {
    match one.next {
        _ if one.paused => "paused".to_owned(),
        Some(at) => time(at),
        None if one.queue.is_some() => "at each message".to_owned(),
        None => "never".to_owned(),
    }
}

fn show(one: &Trigger) -> String {
    let mut rows = vec![
        ("trigger", one.name.to_string()),
        ("when", when(one)),
        ("function", one.job.function.clone()),
        ("next", next(one)),
        ("last", one.last.map_or_else(|| "-".to_owned(), time)),
        ("created", time(one.created)),
    ];
    rows.extend(one.last_job.map(|job| ("last job", job.to_string())));
    rows.extend(one.error.clone().map(|error| ("error", error)));
    fields(&rows)
}
