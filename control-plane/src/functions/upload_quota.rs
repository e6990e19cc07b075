//! How much an account may upload in a window of time, and how much may be kept of it in all.
//!
//! Bytes are set aside before they come and settled afterwards, so that uploads at the same time cannot pass together. In its
//! window, an upload that broke off counts with what has come of it. What is kept is counted by the rows that refer to it
//! ([`objects::kept`]): a sum that the account's row remembers, and to which is added what comes. It is counted anew when it is
//! old, when somebody has deleted something, and before anything is refused because of it.

use std::time::Duration;

use protocol::api::{Kept, KeptBy};
use protocol::{AccountId, ByteSize, Code, Field, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, sea_query::OnConflict,
};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::upload_quotas;
use crate::error::{Error, Result, refuse};
use crate::objects;

/// What is kept is counted anew after so long, whoever asks: uploads that broke off, and what has grown old, is in the sum
/// until then.
const COUNT_LASTS: Duration = Duration::from_secs(600);
/// The same where it is shown.
const SHOWN_LASTS: Duration = Duration::from_secs(10);
/// The same where something would be refused because of it.
const REFUSAL_LASTS: Duration = Duration::from_secs(2);

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
        Quota::of(&row).open(least, &app.config, Timestamp::now()).map_err(|error| error.at(Field::BODY))?;
    }
    let taken = take(app, account, |quota, now| quota.take(least, most, &app.config, now)).await;
    taken.map(|granted| Granted { granted }).map_err(|error| error.at(Field::BODY))
}

/// Counts bytes that the control plane itself stores for an account.
pub(crate) async fn charge(app: &App, account: AccountId, size: ByteSize) -> Result<()> {
    take(app, account, |quota, now| quota.take_ours(size, &app.config, now)).await
}

/// The same within a transaction.
pub(crate) async fn charge_in(app: &App, tx: &DatabaseTransaction, account: AccountId, size: ByteSize) -> Result<()> {
    let mut quota = locked(tx, account).await?;
    quota.take_ours(size, &app.config, Timestamp::now())?;
    Ok(write(tx, account, quota).await?)
}

/// The same for what a job that was accepted answers: it is kept, however much is there.
pub(crate) async fn charge_output(app: &App, account: AccountId, size: ByteSize) -> Result<()> {
    change(app, account, |quota, now| {
        quota.open(size, &app.config, now)?;
        quota.window_bytes.0 += size.0;
        quota.stored_bytes = quota.stored_bytes.saturating_add(size);
        Ok(())
    })
    .await
}

/// Refuses where the account keeps as much as it may: what a job leaves would be more.
pub(crate) async fn has_room(app: &App, account: AccountId) -> Result<()> {
    if Box::pin(counted(app, account, COUNT_LASTS)).await?.room(&app.config) > ByteSize(0) {
        return Ok(());
    }
    let quota = Box::pin(counted(app, account, REFUSAL_LASTS)).await?;
    if quota.room(&app.config) > ByteSize(0) {
        Ok(())
    } else {
        Err(quota.full(&app.config, "nothing is left for more"))
    }
}

/// What is kept of an account, as it was some seconds ago.
pub(crate) async fn kept(app: &App, account: AccountId) -> Result<Kept> {
    let by = Box::pin(counted(app, account, SHOWN_LASTS)).await?.parts;
    Ok(Kept { bytes: by.bytes(), limit: app.config.account_kept_max, by })
}

/// Somebody deletes or restores something in this transaction: what was counted is no longer so.
pub(crate) async fn outdate(tx: &DatabaseTransaction, account: AccountId) -> Result<(), DbErr> {
    // Long ago, and another time than any before: whoever is counting now sees that it is not the same any more.
    let never = Timestamp(Timestamp::now().0.saturating_neg());
    upload_quotas::Entity::update_many()
        .set(upload_quotas::ActiveModel { counted: Set(never.into()), ..Default::default() })
        .filter(upload_quotas::Column::AccountId.eq(Col(account)))
        .exec(tx)
        .await
        .map(drop)
}

/// An upload is over. What has come of it is taken as kept until it is counted.
pub(crate) async fn settle(app: &App, Settle { account, granted, used }: Settle) -> Result<()> {
    change(app, account, |quota, _| {
        quota.window_bytes = less(quota.window_bytes, less(granted, used));
        quota.pending_bytes = less(quota.pending_bytes, granted);
        quota.stored_bytes = quota.stored_bytes.saturating_add(used.min(granted));
        Ok(())
    })
    .await
}

/// Gives back what was counted of an output and has not come.
pub(crate) async fn give_back(app: &App, account: AccountId, granted: ByteSize, used: ByteSize) -> Result<()> {
    let unused = less(granted, used);
    change(app, account, |quota, _| {
        quota.window_bytes = less(quota.window_bytes, unused);
        quota.stored_bytes = less(quota.stored_bytes, unused);
        Ok(())
    })
    .await
}

/// The account has uploaded, within this transaction, what it had already: it is kept once.
pub(crate) async fn had_already(tx: &DatabaseTransaction, account: AccountId, size: ByteSize) -> Result<()> {
    let mut quota = locked(tx, account).await?;
    quota.stored_bytes = less(quota.stored_bytes, size);
    Ok(write(tx, account, quota).await?)
}

/// What an account has uploaded, and what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quota {
    window_began: Timestamp,
    window_bytes: ByteSize,
    /// What was kept when it was counted, and what has come since.
    stored_bytes: ByteSize,
    /// Set aside for uploads that are on their way.
    pending_bytes: ByteSize,
    /// When it was counted, and what of.
    counted: Timestamp,
    parts: KeptBy,
}

impl Quota {
    const NONE: Self = Self {
        window_began: Timestamp(0),
        window_bytes: ByteSize(0),
        stored_bytes: ByteSize(0),
        pending_bytes: ByteSize(0),
        counted: Timestamp(0),
        parts: KeptBy::NONE,
    };

    fn of(row: &upload_quotas::Model) -> Self {
        Self {
            window_began: row.window_began.0,
            window_bytes: row.window_bytes.0,
            stored_bytes: row.stored_bytes.0,
            pending_bytes: row.pending_bytes.0,
            counted: row.counted.0,
            parts: row.parts.map_or(KeptBy::NONE, |parts| parts.0),
        }
    }

    /// How much more may be kept. What was deleted and can be restored is beside it: as much again, so that deleting does
    /// not make room without end.
    fn room(&self, config: &Config) -> ByteSize {
        let (most, kept) = (config.account_kept_max, self.stored_bytes.saturating_add(self.pending_bytes));
        let whole = kept.saturating_add(self.parts.deleted);
        less(most, kept).min(less(most.saturating_add(most), whole))
    }

    fn full(&self, config: &Config, more: impl std::fmt::Display) -> Error {
        let (kept, most) = (self.stored_bytes.saturating_add(self.pending_bytes), config.account_kept_max);
        let deleted = match self.parts.deleted {
            ByteSize(0) => String::new(),
            deleted => format!(", and {deleted} of deleted functions, which can be restored"),
        };
        let detail = format!("The account keeps {kept} of {most} in the store{deleted}; {more}.");
        refuse(Code::StorageFull, detail)
    }

    /// How many of so many bytes the window still lets through; refused where it is fewer.
    fn open(&mut self, least: ByteSize, config: &Config, now: Timestamp) -> Result<ByteSize> {
        let window = config.upload_window.duration();
        if now.since(self.window_began) >= window {
            (self.window_began, self.window_bytes) = (now, ByteSize(0));
            // What has not been settled by now never will be: whoever set it aside is gone.
            self.pending_bytes = ByteSize(0);
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
        Ok(open)
    }

    /// Sets aside as many bytes as there are left, up to `most`; nothing where these are fewer than `least`.
    fn take(&mut self, least: ByteSize, most: ByteSize, config: &Config, now: Timestamp) -> Result<ByteSize> {
        let mut next = *self;
        let open = next.open(least, config, now);
        let room = next.room(config);
        if room < least {
            return Err(next.full(config, format_args!("this needs {least}")));
        }
        let granted = most.min(room).min(open?);
        next.window_bytes.0 += granted.0;
        next.pending_bytes.0 += granted.0;
        *self = next;
        Ok(granted)
    }

    /// The same for what is stored at once.
    fn take_ours(&mut self, size: ByteSize, config: &Config, now: Timestamp) -> Result<()> {
        self.take(size, size, config, now)?;
        self.pending_bytes = less(self.pending_bytes, size);
        self.stored_bytes = self.stored_bytes.saturating_add(size);
        Ok(())
    }
}

fn less(from: ByteSize, bytes: ByteSize) -> ByteSize {
    ByteSize(from.0.saturating_sub(bytes.0))
}

/// Changes it as asked. Before it is refused for what is kept, that is counted.
async fn take<T>(
    app: &App,
    account: AccountId,
    taking: impl Fn(&mut Quota, Timestamp) -> Result<T> + Send + Sync,
) -> Result<T> {
    Box::pin(counted(app, account, COUNT_LASTS)).await?;
    match change(app, account, &taking).await {
        Err(Error::Refused(problem)) if problem.code == Code::StorageFull => {
            Box::pin(counted(app, account, REFUSAL_LASTS)).await?;
            change(app, account, &taking).await
        }
        taken => taken,
    }
}

/// As it is, with a sum that is younger than that.
async fn counted(app: &App, account: AccountId, lasts: Duration) -> Result<Quota> {
    let row = upload_quotas::Entity::find_by_id(Col(account)).one(app.db.read()).await?;
    let before = row.as_ref().map_or(Quota::NONE, Quota::of);
    let now = Timestamp::now();
    // What lies ahead is of a clock that has jumped back since.
    if before.counted <= now && now.since(before.counted) < lasts {
        return Ok(before);
    }
    // Not within the transaction: of many blobs it takes its time.
    let parts = objects::kept(app.db.read(), account).await?;
    let tx = app.db.begin().await?;
    let mut quota = locked(&tx, account).await?;
    // Else somebody was faster, or has deleted something that was there when we counted.
    if quota.counted == before.counted {
        // What has come while we counted may be in the sum or not: for now it is beside it.
        let came = less(quota.stored_bytes, before.stored_bytes);
        quota.stored_bytes = parts.bytes().saturating_add(came);
        (quota.counted, quota.parts) = (now, parts);
        write(&tx, account, quota).await?;
        tx.commit().await?;
    }
    Ok(quota)
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
    upload_quotas::Entity::insert(row(account, Quota::NONE))
        .on_conflict(OnConflict::column(upload_quotas::Column::AccountId).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    let row = upload_quotas::Entity::find_by_id(Col(account)).lock_exclusive().one(tx).await?;
    let row = row.ok_or_else(|| Error::Internal("an account's quota is missing".to_owned()))?;
    Ok(Quota::of(&row))
}

async fn write(tx: &DatabaseTransaction, account: AccountId, quota: Quota) -> Result<(), DbErr> {
    upload_quotas::Entity::update(row(account, quota)).exec(tx).await.map(drop)
}

fn row(account: AccountId, quota: Quota) -> upload_quotas::ActiveModel {
    upload_quotas::ActiveModel {
        account_id: Set(account.into()),
        window_began: Set(quota.window_began.into()),
        window_bytes: Set(quota.window_bytes.into()),
        stored_bytes: Set(quota.stored_bytes.into()),
        pending_bytes: Set(quota.pending_bytes.into()),
        counted: Set(quota.counted.into()),
        parts: Set(Some(quota.parts.into())),
    }
}

#[cfg(test)]
mod tests {
    use protocol::Millis;

    use super::*;

    fn config() -> Config {
        Config {
            upload_window: Millis::seconds(60),
            upload_window_max: ByteSize(100),
            account_kept_max: ByteSize(150),
            ..Config::default()
        }
    }

    #[test]
    fn a14_a_window_and_a_whole() {
        let (config, mut quota, start) = (config(), Quota::NONE, 1_000_000);
        let take = |quota: &mut Quota, least, most, at| {
            let taken = quota.take(ByteSize(least), ByteSize(most), &config, Timestamp(at));
            taken.map(|granted| granted.0).map_err(|error| error.problem().code)
        };
        // As settlement does.
        let settle = |quota: &mut Quota| {
            quota.stored_bytes.0 += quota.pending_bytes.0;
            quota.pending_bytes.0 = 0;
        };
        assert_eq!(take(&mut quota, 60, 60, start), Ok(60));
        assert_eq!(take(&mut quota, 1, 60, start), Ok(40), "of unknown length: what is left");
        settle(&mut quota);
        assert_eq!(take(&mut quota, 1, 1, start + 59_999), Err(Code::RateLimited));
        assert_eq!(take(&mut quota, 50, 50, start + 60_000), Ok(50), "the next window");
        assert_eq!(take(&mut quota, 1, 1, start + 60_001), Err(Code::StorageFull), "what is on its way counts");
        settle(&mut quota);
        assert_eq!(take(&mut quota, 1, 1, start + 60_002), Err(Code::StorageFull));
        assert_eq!(take(&mut quota, 0, 0, start + 60_003), Ok(0));
        quota.stored_bytes = ByteSize(100);
        assert_eq!(take(&mut quota, 1, 100, start + 60_004), Ok(50));
        assert_eq!(take(&mut quota, 1, 1, start + 60_005), Err(Code::StorageFull));
        // Nobody has settled it.
        assert_eq!(take(&mut quota, 50, 50, start + 120_000), Ok(50));
    }

    #[test]
    fn what_was_deleted_may_be_as_much_again() {
        let (config, quota) = (config(), Quota { stored_bytes: ByteSize(50), ..Quota::NONE });
        let room = |deleted| {
            let parts = KeptBy { deleted: ByteSize(deleted), ..KeptBy::NONE };
            Quota { parts, ..quota }.room(&config).0
        };
        assert_eq!([0, 150, 200, 250, 999].map(room), [100, 100, 50, 0, 0]);
    }
}
