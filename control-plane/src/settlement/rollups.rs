//! Minute sums. What a run adds is corrected when its row changes, so each run counts once.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use protocol::{AccountId, FunctionId, Total};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, Statement, Value};

use super::join::{Share, minute};
use crate::db::columns::Col;
use crate::db::entities::runs;

/// The summed columns, in the order of a share's parts.
const SUMS: [&str; 12] = [
    "runs",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "platform_failed",
    "flagged",
    "wall_us",
    "cpu_us",
    "memory_kib_ms",
    "bytes_in",
    "bytes_out",
];

/// Adds a row. A sum stops at `i64::MAX` and at nothing: beyond, SQLite would go on with a float, and PostgreSQL would
/// refuse the whole batch for ever.
static ADD: LazyLock<String> = LazyLock::new(|| {
    let values: Vec<String> = (1..=SUMS.len() + 3).map(|place| format!("${place}")).collect();
    let most = i64::MAX;
    let adds = SUMS.map(|sum| {
        format!(
            "{sum} = CASE WHEN excluded.{sum} > 0 AND usage_minutes.{sum} > {most} - excluded.{sum} THEN {most} \
             WHEN excluded.{sum} < 0 AND usage_minutes.{sum} + excluded.{sum} < 0 THEN 0 \
             ELSE usage_minutes.{sum} + excluded.{sum} END"
        )
    });
    format!(
        "INSERT INTO usage_minutes (account_id, function_id, minute, {}) VALUES ({}) \
         ON CONFLICT (account_id, function_id, minute) DO UPDATE SET {}",
        SUMS.join(", "),
        values.join(", "),
        adds.join(", ")
    )
});

/// Changes of sums, gathered over a batch.
#[derive(Default)]
pub(crate) struct Sums(BTreeMap<(AccountId, FunctionId, i64), [Total; 12]>);

impl Sums {
    /// A row changed from `before` to `after`.
    pub(crate) fn changed(&mut self, before: Option<&runs::Model>, after: &runs::Model) {
        if let Some(before) = before {
            self.add(before, Total::negative);
        }
        self.add(after, |part| part);
    }

    fn add(&mut self, row: &runs::Model, sign: impl Fn(Total) -> Total) {
        let share = Share::of(row);
        if share == Share::default() {
            return;
        }
        let sums = self.0.entry((row.account_id.0, row.function_id.0, minute(row))).or_default();
        sums.iter_mut().zip(share.parts()).for_each(|(sum, part)| *sum = sum.plus(sign(part)));
    }

    /// Adds them to the table, in the order of the keys.
    pub(crate) async fn write(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        for ((account, function, minute), parts) in self.0 {
            if parts == [Total(0); 12] {
                continue;
            }
            let key = [Value::from(Col(account)), Value::from(Col(function)), minute.into()];
            let values = key.into_iter().chain(parts.map(|part| Value::from(part.0)));
            tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), ADD.as_str(), values)).await?;
        }
        Ok(())
    }
}
