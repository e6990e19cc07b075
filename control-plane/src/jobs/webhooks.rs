//! Webhooks: a job's end is told to whom the user named, signed, and again until it is taken. Signed as Standard
//! Webhooks says: `v1,` and base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fabric::shares::Held;
use protocol::job::WebhookKey;
use protocol::route::Scope;
use protocol::{AccountId, JobId, Timestamp};
use ring::hmac;
use sea_orm::{ColumnTrait as _, QueryFilter as _};
use tokio_util::sync::CancellationToken;

use super::{rows, views};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::jobs;
use crate::db::{loops, now};
use crate::error::{Error, Result};
use crate::identity::caller::Caller;

const EVERY: Duration = Duration::from_millis(500);
/// Of the addresses of a name, so many are used.
const ADDRESSES_MAX: usize = 4;
const PURPOSE: &str = "webhooks";

/// `GET /jobs/webhook-key`
pub(crate) fn key(app: &App, caller: &Caller) -> Result<WebhookKey> {
    let account = caller.require(Scope::Admin)?;
    let key = app.tickets.secret_of(account, PURPOSE);
    Ok(WebhookKey { key: format!("whsec_{}", STANDARD.encode(key)) })
}

/// Delivers until it is stopped. Every control plane does: whoever claims a delivery has it.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut changed = app.jobs.changed.subscribe();
    while !stop.is_cancelled() {
        match claim(&app).await {
            Ok(claimed) => {
                for (row, share) in claimed {
                    let app = app.clone();
                    tokio::spawn(async move {
                        if let Err(error) = tell(&app, row).await {
                            tracing::warn!(%error, "webhook delivery not recorded");
                        }
                        drop(share);
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "query of pending webhooks failed"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changed.changed() => tokio::time::sleep(Duration::from_millis(20)).await,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Takes deliveries that are due: nobody else does until this process has had the time for it. Those of accounts that
/// hold their share of what is told at once, to slow receivers perhaps, hold up no others.
async fn claim(app: &App) -> Result<Vec<(jobs::Model, Held<AccountId>)>> {
    let shares = &app.bounds.webhooks;
    let (full, most) = (shares.full(), u64::from(app.config.webhooks_max).saturating_sub(shares.held()));
    let due = |now: Timestamp, most: u64| {
        let due = loops::webhooks_due(now, most);
        match full.is_empty() {
            true => due,
            false => due.filter(jobs::Column::AccountId.is_not_in(full.iter().map(|account| Col(*account)))),
        }
    };
    let there = due(now(app.db.read()).await?, 1).one(app.db.read()).await?;
    if most == 0 || there.is_none() {
        return Ok(Vec::new());
    }
    let tx = app.db.begin().await?;
    // The lock of all jobs: two processes never claim the same.
    rows::revisions(&tx, 0).await?;
    let now = now(&tx).await?;
    let rows = due(now, most).all(&tx).await?;
    let later = now.plus(app.config.webhook_timeout.duration() * 3);
    let mut claimed = Vec::with_capacity(rows.len());
    for mut row in rows {
        let Ok(share) = shares.try_take(row.account_id.0, 1) else { continue };
        row.webhook_tries += 1;
        row.webhook_due = Some(Col(later));
        rows::write(&tx, &row).await?;
        claimed.push((row, share));
    }
    tx.commit().await?;
    Ok(claimed)
}

async fn tell(app: &App, row: jobs::Model) -> Result<()> {
    let (id, steps, tries) = (row.id.0, row.steps, row.webhook_tries);
    let Some(url) = row.webhook.clone() else { return Ok(()) };
    let account = row.account_id.0;
    let job = views::whole(app, row).await?;
    let body = serde_json::to_vec(&job).map_err(|error| Error::Internal(error.to_string()))?;
    let told = deliver(app, account, &url, &format!("{id}_{steps}"), body).await;
    if let Err(why) = &told {
        tracing::info!(job = %id, tries, why, "webhook delivery failed");
    }
    note(app, id, (steps, tries), told).await
}

/// Notes how the delivery went, unless the job has gone on since.
async fn note(app: &App, id: JobId, (steps, tries): (i32, i32), told: Result<(), String>) -> Result<()> {
    let tx = app.db.begin().await?;
    let revision = rows::revisions(&tx, 1).await?;
    let row = rows::locked(&tx, id).await?;
    let Some(mut row) = row.filter(|row| row.steps == steps && row.webhook_tries == tries) else { return Ok(()) };
    let tries = u32::try_from(tries).unwrap_or(0);
    let now = now(&tx).await?;
    (row.webhook_due, row.webhook_delivered, row.webhook_error) = match told {
        Ok(()) => (None, Some(Col(now)), None),
        Err(why) if tries >= app.config.webhook_tries_max => (None, None, Some(rows::short(&why))),
        Err(why) => {
            let pause = app.config.webhook_backoff.duration() * 3_u32.saturating_pow(tries.saturating_sub(1));
            (Some(Col(now.plus(pause))), None, Some(rows::short(&why)))
        }
    };
    row.revision = revision;
    rows::write(&tx, &row).await?;
    tx.commit().await?;
    app.jobs.committed(revision);
    Ok(())
}

/// One POST, to a public address, that is answered by 2xx.
async fn deliver(app: &App, account: AccountId, url: &str, id: &str, body: Vec<u8>) -> Result<(), String> {
    let url = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    let host = url.host_str().ok_or("no host")?.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().ok_or("no port")?;
    let timeout = app.config.webhook_timeout.duration();
    let found = tokio::time::timeout(timeout, tokio::net::lookup_host((host.as_str(), port))).await;
    let found = found.map_err(|_| "its name is not found in time")?.map_err(|error| error.to_string())?;
    let allowed = |address: &SocketAddr| app.config.webhook_private || protocol::address::is_public(address.ip());
    let addresses: Vec<SocketAddr> = found.filter(allowed).take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err("it has no public address".to_owned());
    }
    // Connected to is what was checked, and no other; a redirect could lead anywhere.
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .resolve_to_addrs(&host, &addresses)
        .timeout(timeout)
        .user_agent(concat!("crowdcloud/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())?;
    let at = Timestamp::now().0 / 1000;
    let signature = sign(&app.tickets.secret_of(account, PURPOSE), id, at, &body);
    let sent = client
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body)
        .send();
    let answer = sent.await.map_err(|error| error.without_url().to_string())?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(format!("it answered {}", answer.status().as_u16())),
    }
}

fn sign(key: &[u8; 32], id: &str, at: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{at}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_as_standard_webhooks() {
        // By `printf 'msg_1.1700000000.{}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101…01 -binary | base64`.
        let signature = sign(&[1; 32], "msg_1", 1_700_000_000, b"{}");
        assert_eq!(signature, "v1,xtZ05xWlw5OgOLjDd6HtOXxhC1OXgHe80DYwEPUhaCI=");
    }
}
