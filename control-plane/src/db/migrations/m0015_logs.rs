//! Blocks of logs, and how far those of each account are. Lines that are rows already wait for a block like new ones; what
//! was pruned before is not known, so that an account's logs are complete since the oldest of them.

use protocol::Timestamp;
use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Runs that have written so short a while ago, in milliseconds, may go on.
const WRITING_MS: i64 = 2 * 3_600_000;

const INDICES: [&str; 6] = [
    "CREATE UNIQUE INDEX log_blocks_lines ON log_blocks (account_id, last_line)",
    "CREATE INDEX log_blocks_ended ON log_blocks (ended)",
    "CREATE INDEX log_accounts_rows ON log_accounts (account_id) WHERE row_count > 0",
    "CREATE INDEX log_runs_until ON log_runs (until)",
    "CREATE INDEX run_logs_account ON run_logs (account_id, id)",
    "DROP INDEX run_logs_at",
];

fn tables() -> [TableCreateStatement; 3] {
    [
        table("log_blocks")
            .id("account_id")
            .big("number")
            .big("first_line")
            .big("last_line")
            .id("first_run")
            .id("last_run")
            .big("began")
            .big("ended")
            .big("lines")
            .big("bytes")
            .text("root")
            .big("packed")
            .text_null("functions")
            .id("run_filter")
            .key(&["account_id", "number"]),
        table("log_accounts")
            .id("account_id")
            .big("blocks")
            .big("packed")
            .big("cleared")
            .big("deleted")
            .big("row_count")
            .big("waiting")
            .big("waiting_bytes")
            .big("waiting_since")
            .big("bytes")
            .big("since")
            .key(&["account_id"]),
        table("log_runs").id("run_id").big("bytes").id_null("seen").big("until").key(&["run_id"]),
    ]
}

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            manager.create_table(table).await?;
        }
        let connection = manager.get_connection();
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        let now = Timestamp::now().0;
        let of_rows = "INSERT INTO log_accounts (account_id, blocks, packed, cleared, deleted, row_count, waiting, \
                       waiting_bytes, waiting_since, bytes, since) \
                       SELECT account_id, 0, 0, 0, 0, COUNT(*), COUNT(*), SUM(LENGTH(text)), 0, 0, MIN(at) \
                       FROM run_logs GROUP BY account_id";
        let of_none = format!(
            "INSERT INTO log_accounts (account_id, blocks, packed, cleared, deleted, row_count, waiting, waiting_bytes, \
             waiting_since, bytes, since) SELECT id, 0, 0, 0, 0, 0, 0, 0, 0, 0, {now} FROM accounts \
             WHERE id NOT IN (SELECT account_id FROM log_accounts)"
        );
        let of_runs = format!(
            "INSERT INTO log_runs (run_id, bytes, seen, until) SELECT run_id, SUM(LENGTH(text)), NULL, {} FROM run_logs \
             WHERE at >= {} GROUP BY run_id",
            now.saturating_add(WRITING_MS),
            now.saturating_sub(WRITING_MS)
        );
        for rows in [of_rows, of_none.as_str(), of_runs.as_str()] {
            connection.execute_unprepared(rows).await?;
        }
        Ok(())
    }
}
