//! How much an account may upload: in a window of time, and in all. Bytes are set aside before they come and settled
//! afterwards, so that uploads at the same time cannot pass together, and one that broke off counts with what has come of
//! it. Nothing gives stored bytes back but an upload of what the account had already.

use protocol::{AccountId, ByteSize, Code, Timestamp};
use sea_orm::{ActiveValue::Set, DatabaseTransaction, EntityTrait as _, QuerySelect as _, sea_query::OnConflict};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::upload_quotas;
use crate::error::{Error, Result, refuse};

/// `POST /internal/uploads`: a gateway is about to read an upload.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Begin {
    account: AccountId,
    /// Fewer bytes would be of no use.
    least: ByteSize,
    /// More will not come.
    most: ByteSize,
}

/// How many may come.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Granted {
    granted: ByteSize,
}

/// `POST /internal/uploads/settle`: so many have come.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settle {
    account: AccountId,
    granted: ByteSize,
    used: ByteSize,
}

/// Sets bytes aside, or refuses.
pub(crate) async fn begin(app: &App, asked: Begin) -> Result<Granted> {
    let Begin { account, least, most } = asked;
    // Most refusals are clear from what is committed: they take no turn at the writer.
    if let Some(row) = upload_quotas::Entity::find_by_id(Col(account)).one(app.db.read()).await? {
        Quota::from(row).take(least, most, &app.config, Timestamp::now())?;
    }
    change(app, account, |quota, now| quota.take(least, most, &app.config, now))
        .await
        .map(|granted| Granted { granted })
}

/// Counts bytes that the control plane itself stores for an account.
pub(crate) async fn charge(app: &App, account: AccountId, size: ByteSize) -> Result<()> {
    begin(app, Begin { account, least: size, most: size }).await.map(drop)
}

/// The same within a transaction.
pub(crate) async fn charge_in(app: &App, tx: &DatabaseTransaction, account: AccountId, size: ByteSize) -> Result<()> {
    let mut quota = locked(tx, account).await?;
    quota.take(size, size, &app.config, Timestamp::now())?;
    write(tx, account, quota).await
}

/// Gives back what was set aside and has not come.
pub(crate) async fn settle(app: &App, Settle { account, granted, used }: Settle) -> Result<()> {
    give_back(app, account, granted, used).await
}

/// The same for what the control plane itself stores.
pub(crate) async fn give_back(app: &App, account: AccountId, granted: ByteSize, used: ByteSize) -> Result<()> {
    let unused = ByteSize(granted.0.saturating_sub(used.0));
    change(app, account, |quota, _| {
        quota.window_bytes = less(quota.window_bytes, unused);
        quota.stored_bytes = less(quota.stored_bytes, unused);
        Ok(())
    })
    .await
}

/// The account has uploaded, within this transaction, what it had already: it is stored once.
pub(crate) async fn had_already(tx: &DatabaseTransaction, account: AccountId, size: ByteSize) -> Result<()> {
    let mut quota = locked(tx, account).await?;
    quota.stored_bytes = less(quota.stored_bytes, size);
    write(tx, account, quota).await
}

/// What an account has uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quota {
    window_began: Timestamp,
    window_bytes: ByteSize,
    stored_bytes: ByteSize,
}

impl From<upload_quotas::Model> for Quota {
    fn from(row: upload_quotas::Model) -> Self {
        Self { window_began: *row.window_began, window_bytes: *row.window_bytes, stored_bytes: *row.stored_bytes }
    }
}

impl Quota {
    /// Takes as many bytes as there are left, up to `most`; nothing where these are fewer than `least`.
    fn take(&mut self, least: ByteSize, most: ByteSize, config: &Config, now: Timestamp) -> Result<ByteSize> {
        let window = config.upload_window.duration();
        if now.since(self.window_began) >= window {
            (self.window_began, self.window_bytes) = (now, ByteSize(0));
        }
        let stored = less(config.upload_stored_max, self.stored_bytes);
        if stored < least {
            let detail = format!(
                "the account has {} of uploads in the store and may have {}; this one needs {least}",
                self.stored_bytes, config.upload_stored_max
            );
            return Err(refuse(Code::LimitReached, detail));
        }
        let open = less(config.upload_window_max, self.window_bytes);
        if open < least {
            let ends_in = window.saturating_sub(now.since(self.window_began)).as_secs() + 1;
            let detail = format!(
                "the account may upload {} in {}, has uploaded {}, and this one needs {least}; the time ends in {ends_in} s",
                config.upload_window_max, config.upload_window, self.window_bytes
            );
            return Err(refuse(Code::RateLimited, detail));
        }
        let granted = most.min(stored).min(open);
        self.window_bytes.0 += granted.0;
        self.stored_bytes.0 += granted.0;
        Ok(granted)
    }
}

fn less(from: ByteSize, bytes: ByteSize) -> ByteSize {
    ByteSize(from.0.saturating_sub(bytes.0))
}

async fn change<T>(
    app: &App,
    account: AccountId,
    change: impl FnOnce(&mut Quota, Timestamp) -> Result<T> + Send,
) -> Result<T> {
    let tx = app.db.begin().await?;
    let mut quota = locked(&tx, account).await?;
    let came = change(&mut quota, Timestamp::now())?;
    write(&tx, account, quota).await?;
    tx.commit().await?;
    Ok(came)
}

/// The account's row, made where it is missing; it stays locked until the transaction ends.
async fn locked(tx: &DatabaseTransaction, account: AccountId) -> Result<Quota> {
    let none = upload_quotas::ActiveModel {
        account_id: Set(account.into()),
        window_began: Set(Timestamp(0).into()),
        window_bytes: Set(ByteSize(0).into()),
        stored_bytes: Set(ByteSize(0).into()),
    };
    upload_quotas::Entity::insert(none)
        .on_conflict(OnConflict::column(upload_quotas::Column::AccountId).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    let row = upload_quotas::Entity::find_by_id(Col(account)).lock_exclusive().one(tx).await?;
    row.map(Quota::from).ok_or_else(|| Error::Internal("an account's quota is missing".to_owned()))
}

async fn write(tx: &DatabaseTransaction, account: AccountId, quota: Quota) -> Result<()> {
    upload_quotas::Entity::update(upload_quotas::ActiveModel {
        account_id: Set(account.into()),
        window_began: Set(quota.window_began.into()),
        window_bytes: Set(quota.window_bytes.into()),
        stored_bytes: Set(quota.stored_bytes.into()),
    })
    .exec(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::Millis;

    use super::*;

    #[test]
    fn a14_a_window_and_a_whole() {
        let config = Config {
            upload_window: Millis::seconds(60),
            upload_window_max: ByteSize(100),
            upload_stored_max: ByteSize(150),
            ..Config::default()
        };
        let mut quota = Quota { window_began: Timestamp(0), window_bytes: ByteSize(0), stored_bytes: ByteSize(0) };
        let mut take = |least, most, at| quota.take(ByteSize(least), ByteSize(most), &config, Timestamp(at));
        let start = 1_000_000;
        assert_eq!(take(60, 60, start).unwrap(), ByteSize(60));
        assert_eq!(take(1, 60, start).unwrap(), ByteSize(40), "of unknown length: what is left");
        assert_eq!(take(1, 1, start + 59_999).unwrap_err().problem().code, Code::RateLimited);
        assert_eq!(take(50, 50, start + 60_000).unwrap(), ByteSize(50), "the next window");
        assert_eq!(take(1, 1, start + 60_001).unwrap_err().problem().code, Code::LimitReached, "but all is stored");
        assert_eq!(take(0, 0, start + 60_001).unwrap(), ByteSize(0));
    }
}
