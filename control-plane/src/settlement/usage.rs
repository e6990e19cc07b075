//! A function's sums, from the minute roll-ups: they outlive the window of runs.

use protocol::ByteSize;
use protocol::api::FunctionUsage;
use protocol::route::Scope;
use sea_orm::{ConnectionTrait as _, DbErr, QueryResult, Statement};

use crate::App;
use crate::db::columns::unsigned;
use crate::error::Result;
use crate::identity::caller::Caller;

const COLUMNS: [&str; 11] = [
    "runs",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "platform_failed",
    "flagged",
    "wall_us",
    "cpu_us",
    "bytes_in",
    "bytes_out",
];

/// A sum is read as multiples of this, and the rest.
const HALF: u64 = 1 << 32;

/// `GET /functions/{name}/usage`
pub(crate) async fn of_function(app: &App, caller: &Caller, name: &str) -> Result<FunctionUsage> {
    let function = caller.function(app, name, Scope::Read).await?;
    // In two parts, that no number of minutes lets overflow: SQLite would fail, and PostgreSQL, which sums to decimals, at
    // the cast.
    let half = |column: &str, of: &str, name: &str| {
        format!("CAST(COALESCE(SUM({column} {of} {HALF}), 0) AS BIGINT) AS {column}_{name}")
    };
    let sums = COLUMNS.map(|column| [half(column, "/", "high"), half(column, "%", "low")].join(", ")).join(", ");
    let sql = format!("SELECT {sums} FROM usage_minutes WHERE account_id = $1 AND function_id = $2");
    let key = [function.account_id.into(), function.id.into()];
    let statement = Statement::from_sql_and_values(app.db.read().get_database_backend(), sql, key);
    match app.db.read().query_one_raw(statement).await? {
        Some(row) => Ok(view(&row)?),
        None => Ok(FunctionUsage::default()),
    }
}

fn view(row: &QueryResult) -> Result<FunctionUsage, DbErr> {
    let part = |column: &str, name: &str| row.try_get::<i64>("", &format!("{column}_{name}")).map(unsigned);
    let sum = |column: &str| -> Result<u64, DbErr> {
        let high = part(column, "high")?.saturating_mul(HALF);
        Ok(high.saturating_add(part(column, "low")?))
    };
    Ok(FunctionUsage {
        runs: sum("runs")?,
        succeeded: sum("succeeded")?,
        failed: sum("failed")?,
        timed_out: sum("timed_out")?,
        cancelled: sum("cancelled")?,
        platform_failed: sum("platform_failed")?,
        flagged: sum("flagged")?,
        wall_us: sum("wall_us")?,
        cpu_us: sum("cpu_us")?,
        bytes_in: ByteSize(sum("bytes_in")?),
        bytes_out: ByteSize(sum("bytes_out")?),
    })
}
