//! Queues: made, filled, leased from, acknowledged.

use protocol::ByteSize;
use protocol::job::JobInput;
use protocol::queue::{
    Discarded, EndLeases, Held, LeaseMessages, LeasesEnded, Message, MessagesLeased, MessagesPut, NewMessage,
    PutMessages, Queue, Redriven, SetQueue,
};
use protocol::words::count;
use reqwest::Method;

use crate::args::{Held as HeldArgs, List, Queues};
use crate::client::{Client, idempotency_key, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{fields, table, time};

/// So much of a body stands in a table.
const BODY_SHOWN: usize = 60;

/// `queues`
pub(crate) async fn queues(context: &Context, verb: Option<Queues>) -> Result<(), Failure> {
    let client = context.client()?;
    match verb.unwrap_or_else(|| Queues::List(List::first())) {
        Queues::List(list) => {
            super::show_page::<Queue>(context, &client, "/queues", &list, |queues| {
                let rows = queues.iter().map(|one| {
                    let counts = [one.waiting, one.hidden, one.dead].map(|count| count.to_string());
                    let [waiting, hidden, dead] = counts;
                    [one.name.to_string(), waiting, hidden, dead, one.lease.to_string(), one.deliveries.to_string()]
                });
                table(["queue", "waiting", "leased", "dead", "lease", "deliveries"], rows)
            })
            .await
        }
        Queues::Show { queue } => {
            let one: Queue = client.get(&path(&queue, "")).await?;
            context.output.result(&one, || show(&one))?;
            Ok(())
        }
        Queues::Set { queue, lease, deliveries, days } => {
            let asked = SetQueue {
                lease: lease.map(Into::into),
                deliveries: deliveries.map(Into::into),
                days: days.map(Into::into),
            };
            let one: Queue = client.change(Method::PUT, &path(&queue, ""), &asked).await?;
            context.output.result(&one, || show(&one))?;
            Ok(())
        }
        Queues::Delete { queue } => client.delete(&path(&queue, "")).await,
        Queues::Put { queue, body, delay, idempotency_key: key } => {
            let body = super::jobs::input(&client, &body).await?;
            let asked = PutMessages { messages: vec![NewMessage { body, delay: delay.map(Into::into) }] };
            let key = key.unwrap_or_else(idempotency_key);
            let request = client.api(Method::POST, &path(&queue, "/messages"))?.json(&asked);
            let put: MessagesPut = client.read(request.header("idempotency-key", key)).await?;
            let ids = || put.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            context.output.result(&put, ids)?;
            Ok(())
        }
        Queues::Lease { queue, count, lease, wait } => {
            let asked =
                LeaseMessages { count: Some(count.into()), lease: lease.map(Into::into), wait: wait.map(Into::into) };
            let leased: MessagesLeased = client.post(&path(&queue, "/lease"), &asked).await?;
            context.output.result(&leased, || list(&leased.messages))?;
            Ok(())
        }
        Queues::Ack(held) => end(context, &client, "ack", &held, None).await,
        Queues::Release { held, delay } => end(context, &client, "release", &held, delay).await,
        Queues::Dead { queue, list: page } => {
            super::show_page::<Message>(context, &client, &path(&queue, "/dead"), &page, list).await
        }
        Queues::Messages { queue, list: page } => {
            super::show_page::<Message>(context, &client, &path(&queue, "/messages"), &page, present).await
        }
        Queues::Redrive { queue, message } => {
            let rest = message.map_or_else(|| "/redrive".to_owned(), |id| format!("/dead/{id}/redrive"));
            let moved: Redriven = client.post(&path(&queue, &rest), &serde_json::json!({})).await?;
            context
                .output
                .result(&moved, || format!("{} put back into the queue", count(moved.messages, "message")))?;
            Ok(())
        }
        Queues::Discard { queue, message, all } => match message.filter(|_| !all) {
            Some(message) => client.delete(&path(&queue, &format!("/dead/{message}"))).await,
            None => {
                let request = client.api(Method::DELETE, &path(&queue, "/dead"))?;
                let gone: Discarded = client.read(request).await?;
                context.output.result(&gone, || format!("{} deleted", count(gone.messages, "dead message")))?;
                Ok(())
            }
        },
    }
}

fn path(queue: &str, rest: &str) -> String {
    format!("/queues/{}{rest}", segment(queue))
}

async fn end(
    context: &Context,
    client: &Client,
    how: &str,
    held: &HeldArgs,
    delay: Option<protocol::Millis>,
) -> Result<(), Failure> {
    let one = Held { id: held.message, lease: held.lease };
    let asked = EndLeases { messages: vec![one], delay: delay.map(Into::into) };
    let ended: LeasesEnded = client.post(&path(&held.queue, &format!("/{how}")), &asked).await?;
    if ended.ended.is_empty() {
        let what = format!("The message {} is not leased by {}", held.message, held.lease);
        return Err(Failure::new(Exit::Conflict, "lease_lost", what)
            .why("the lease has run out, or the message was acknowledged or given back already")
            .help(format!("crowdcloud queues lease {}", held.queue)));
    }
    context.output.result(&ended, || held.message.to_string())?;
    Ok(())
}

fn show(one: &Queue) -> String {
    fields(&[
        ("queue", one.name.to_string()),
        ("waiting", one.waiting.to_string()),
        ("leased", one.hidden.to_string()),
        ("dead", one.dead.to_string()),
        ("oldest", one.oldest.map_or_else(|| "-".to_owned(), time)),
        ("lease", one.lease.to_string()),
        ("deliveries", one.deliveries.to_string()),
        ("kept", count(one.days, "day")),
        ("created", time(one.created)),
    ])
}

fn list(messages: &[Message]) -> String {
    let rows = messages.iter().map(|one| {
        let lease = one.lease.map_or_else(|| "-".to_owned(), |lease| lease.to_string());
        [one.id.to_string(), lease, one.deliveries.to_string(), time(one.put), short(&one.body)]
    });
    table(["message", "lease", "deliveries", "put", "body"], rows)
}

/// Messages as they are, leased by nobody here.
fn present(messages: &[Message]) -> String {
    let rows = messages.iter().map(|one| {
        let until = one.until.map_or_else(|| "now".to_owned(), time);
        [one.id.to_string(), until, one.deliveries.to_string(), time(one.put), short(&one.body)]
    });
    table(["message", "can be leased", "deliveries", "put", "body"], rows)
}

fn short(body: &JobInput) -> String {
    let text = match body {
        JobInput::Text(text) => text.clone(),
        JobInput::Json(value) => value.to_string(),
        JobInput::Base64(text) => ByteSize((text.len() / 4 * 3) as u64).to_string(),
        JobInput::Upload(digest) => digest.to_string(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(BODY_SHOWN).collect();
    if line.len() < text.len() { format!("{line}...") } else { line }
}
