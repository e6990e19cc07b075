//! Minute sums. What a run adds is corrected when its row changes, so each run counts once.

use std::collections::BTreeMap;

use protocol::{AccountId, FunctionId};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, Statement, Value};

use super::join::{Share, minute};
use crate::db::columns::Col;
use crate::db::entities::runs;

const ADD: &str = "INSERT INTO usage_minutes (account_id, function_id, minute, runs, succeeded, failed, timed_out, \
     cancelled, platform_failed, flagged, wall_us, cpu_us, memory_kib_ms, bytes_in, bytes_out) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     ON CONFLICT (account_id, function_id, minute) DO UPDATE SET \
     runs = usage_minutes.runs + excluded.runs, \
     succeeded = usage_minutes.succeeded + excluded.succeeded, \
     failed = usage_minutes.failed + excluded.failed, \
     timed_out = usage_minutes.timed_out + excluded.timed_out, \
     cancelled = usage_minutes.cancelled + excluded.cancelled, \
     platform_failed = usage_minutes.platform_failed + excluded.platform_failed, \
     flagged = usage_minutes.flagged + excluded.flagged, \
     wall_us = usage_minutes.wall_us + excluded.wall_us, \
     cpu_us = usage_minutes.cpu_us + excluded.cpu_us, \
     memory_kib_ms = usage_minutes.memory_kib_ms + excluded.memory_kib_ms, \
     bytes_in = usage_minutes.bytes_in + excluded.bytes_in, \
     bytes_out = usage_minutes.bytes_out + excluded.bytes_out";

/// Changes of sums, gathered over a batch.
#[derive(Default)]
pub(crate) struct Sums(BTreeMap<(AccountId, FunctionId, i64), [i64; 12]>);

impl Sums {
    /// A row changed from `before` to `after`.
    pub(crate) fn changed(&mut self, before: Option<&runs::Model>, after: &runs::Model) {
        if let Some(before) = before {
            self.add(before, -1);
        }
        self.add(after, 1);
    }

    fn add(&mut self, row: &runs::Model, sign: i64) {
        let share = Share::of(row);
        if share == Share::default() {
            return;
        }
        let sums = self.0.entry((row.account_id.0, row.function_id.0, minute(row))).or_default();
        sums.iter_mut().zip(share.parts()).for_each(|(sum, part)| *sum = sum.saturating_add(sign * part));
    }

    /// Adds them to the table, in the order of the keys.
    pub(crate) async fn write(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        for ((account, function, minute), parts) in self.0 {
            if parts == [0; 12] {
                continue;
            }
            let key = [Value::from(Col(account)), Value::from(Col(function)), minute.into()];
            let values = key.into_iter().chain(parts.map(Value::from));
            tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), ADD, values)).await?;
        }
        Ok(())
    }
}
