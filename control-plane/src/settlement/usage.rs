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

/// `GET /functions/{name}/usage`
pub(crate) async fn of_function(app: &App, caller: &Caller, name: &str) -> Result<FunctionUsage> {
    let function = caller.function(app, name, Scope::Read).await?;
    // PostgreSQL sums big integers to decimals.
    let sums = COLUMNS.map(|column| format!("CAST(COALESCE(SUM({column}), 0) AS BIGINT) AS {column}")).join(", ");
    let sql = format!("SELECT {sums} FROM usage_minutes WHERE account_id = $1 AND function_id = $2");
    let key = [function.account_id.into(), function.id.into()];
    let statement = Statement::from_sql_and_values(app.db.read().get_database_backend(), sql, key);
    match app.db.read().query_one_raw(statement).await? {
        Some(row) => Ok(view(&row)?),
        None => Ok(FunctionUsage::default()),
    }
}

fn view(row: &QueryResult) -> Result<FunctionUsage, DbErr> {
    let sum = |column: &str| row.try_get::<i64>("", column).map(unsigned);
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
