//! Sums of usage by minute, hour and day, of each function, version, lane, source, principal and class of status. What was
//! summed by function and minute becomes sums of the same function of which the rest is not known.

use protocol::Timestamp;
use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Sums that there were already.
const OLD: [&str; 12] = [
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

/// Sums that nobody has kept so far.
const NEW: [&str; 6] = ["warm", "cached", "cold", "reserved_cpu_us", "reserved_memory_kib_ms", "egress_bytes"];

fn sums() -> TableCreateStatement {
    let key = table("usage_sums")
        .id("account_id")
        .int("span")
        .big("began")
        .id("id")
        .id_null("function_id")
        .col("version_number", |c| c.integer().null())
        .text_null("lane")
        .text_null("source")
        .text_null("principal")
        .col("status", |c| c.integer().null())
        .flag("folded");
    let sums = OLD.into_iter().chain(NEW).fold(key, |draft, name| draft.big(name));
    sums.text("latency").key(&["account_id", "span", "began", "id"])
}

/// A sum over minutes, which stops at the largest number that a column has. In two parts, of which none overflows.
fn summed(name: &str) -> String {
    const HALF: i64 = 1 << 32;
    let high = format!("CAST(SUM({name} / {HALF}) AS BIGINT)");
    let low = format!("CAST(SUM({name} % {HALF}) AS BIGINT)");
    format!("CASE WHEN {high} + {low} / {HALF} >= {} THEN {} ELSE {high} * {HALF} + {low} END", HALF / 2, i64::MAX)
}

/// Moves the minutes from one on into periods of so many minutes.
fn moved(minutes: i64, since: i64) -> String {
    let (span_s, span_ms) = (minutes * 60, minutes * 60_000);
    let zeros = NEW.map(|_| "0").join(", ");
    format!(
        "INSERT INTO usage_sums (account_id, span, began, id, function_id, folded, {}, {}, latency) \
         SELECT account_id, {span_s}, (minute / {minutes}) * {span_ms}, function_id, function_id, FALSE, {}, {zeros}, '' \
         FROM usage_minutes WHERE minute >= {since} GROUP BY account_id, function_id, minute / {minutes}",
        OLD.join(", "),
        NEW.join(", "),
        OLD.map(summed).join(", "),
    )
}

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(sums()).await?;
        let connection = manager.get_connection();
        let today = Timestamp::now().0 / 86_400_000;
        // Minutes are kept for 3 days and hours for 90, beside today.
        for (minutes, days) in [(1, Some(3)), (60, Some(90)), (1440, None)] {
            let since = days.map_or(0, |days: i64| (today - days) * 1440);
            connection.execute_unprepared(&moved(minutes, since)).await?;
        }
        connection.execute_unprepared("CREATE INDEX usage_sums_began ON usage_sums (span, began)").await?;
        connection.execute_unprepared("DROP TABLE usage_minutes").await?;
        for table in ["runs", "jobs"] {
            for name in ["source", "principal"] {
                let mut column = ColumnDef::new(Alias::new(name));
                let mut alter = Table::alter();
                alter.table(Alias::new(table)).add_column(column.text().null());
                manager.alter_table(alter).await?;
            }
        }
        Ok(())
    }
}
