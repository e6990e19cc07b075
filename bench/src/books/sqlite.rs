//! SQLite without a control plane: how fast the same driver writes bare rows, which is the floor of what settlement costs; and
//! how much of a database's file is in use.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use protocol::RunId;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait as _,
    Value,
};

/// Rows of one statement, as settlement writes them.
const ROWS: usize = 500;

/// Bytes of a database's file, and of its pages that are in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) file: f64,
    pub(super) used: f64,
}

async fn open(file: &Path, mode: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode={mode}", file.display()));
    options.max_connections(1).sqlx_logging(false);
    Ok(Box::pin(Database::connect(options)).await?)
}

/// Rows a second that are inserted into a fresh file with a prepared statement: an id and this text each, so many in a
/// transaction, flushed as the control plane has it.
pub(super) async fn rows_per_second(
    folder: &Path,
    text: &str,
    transaction: usize,
    measured: Duration,
) -> anyhow::Result<f64> {
    let file = folder.join(format!("floor-{}.db", RunId::new()));
    let database = open(&file, "rwc").await?;
    for sql in [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE floor (id BLOB NOT NULL PRIMARY KEY, text TEXT NOT NULL)",
    ] {
        database.execute_unprepared(sql).await?;
    }
    let (begun, mut rows) = (Instant::now(), 0);
    while begun.elapsed() < measured {
        let tx = database.begin().await?;
        let mut left = transaction.max(1);
        while left > 0 {
            let now = left.min(ROWS);
            tx.execute_raw(insert(text, now)).await?;
            (left, rows) = (left - now, rows + now);
        }
        tx.commit().await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    database.close().await?;
    std::fs::remove_file(&file)?;
    Ok(f64::from(u32::try_from(rows)?) / seconds)
}

fn insert(text: &str, rows: usize) -> Statement {
    // Without names, as the control plane has them: the driver looks for each name among all.
    let sql = format!("INSERT INTO floor (id, text) VALUES {}", vec!["(?, ?)"; rows].join(", "));
    let row = |_| [Value::from(RunId::new().uuid().as_bytes().to_vec()), Value::from(text)];
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, (0..rows).flat_map(row))
}

/// How large a database is now. Others may write it.
pub(super) async fn size(file: &Path) -> anyhow::Result<Size> {
    let database = open(file, "ro").await?;
    let mut found = [0_i64; 3];
    for (value, sql) in found.iter_mut().zip(["PRAGMA page_size", "PRAGMA page_count", "PRAGMA freelist_count"]) {
        let row = database.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
        *value = row.with_context(|| format!("{sql} says nothing"))?.try_get_by_index(0)?;
    }
    database.close().await?;
    let [page, pages, free] = found;
    Ok(Size { file: bytes(page * pages), used: bytes(page * (pages - free)) })
}

#[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn bytes(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_are_written_and_pages_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let rate = rows_per_second(folder.path(), "text", 700, Duration::from_millis(50)).await.unwrap();
        assert!(rate > 100.0, "{rate}");
        let file = folder.path().join("counted.db");
        let database = open(&file, "rwc").await.unwrap();
        database.execute_unprepared("CREATE TABLE some (text TEXT)").await.unwrap();
        database.execute_unprepared("INSERT INTO some VALUES (zeroblob(100000))").await.unwrap();
        let full = size(&file).await.unwrap();
        assert!(full.used > 100_000.0 && full.file >= full.used, "{full:?}");
        database.execute_unprepared("DELETE FROM some").await.unwrap();
        let empty = size(&file).await.unwrap();
        assert!(empty.used < 50_000.0 && empty.file == full.file, "{empty:?}");
    }
}
