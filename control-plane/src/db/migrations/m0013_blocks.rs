//! Blocks: the history of each account's runs, of which only the newest are rows. And the ring of samples that placement is
//! trained on.
//!
//! What was settled so far is packed like any other runs, also what stands in segments of earlier releases: the column
//! `segment` of `runs` stays, and nobody reads it; so does the table `segments`, which says where in the store they are.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDICES: [&str; 7] = [
    "CREATE INDEX runs_unpacked ON runs (account_id, run_id) WHERE settled AND block IS NULL",
    "CREATE INDEX run_windows_waiting ON run_windows (unpacked_since) WHERE unpacked > 0",
    "CREATE INDEX run_windows_full ON run_windows (unpacked) WHERE unpacked > 0",
    "CREATE INDEX blocks_held ON blocks (account_id, last_run, first_run) WHERE root IS NOT NULL",
    "CREATE INDEX blocks_bodies ON blocks (last_run) WHERE root IS NOT NULL",
    "CREATE INDEX blocks_origin ON blocks (origin)",
    "CREATE INDEX samples_run ON samples (run_id)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let blocks = table("blocks")
            .id("account_id")
            .big("number")
            .id("first_run")
            .id("last_run")
            .big("runs")
            .big("began")
            .big("ended")
            .big("origin")
            .big("surely_over")
            .flag("corrects")
            .text("summary")
            .text("header")
            .text_null("root")
            .big("bytes")
            .key(&["account_id", "number"]);
        let samples = table("samples").big("slot").id("account_id").id("run_id").text("sample").key(&["slot"]);
        manager.create_table(blocks).await?;
        manager.create_table(samples).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared("ALTER TABLE runs ADD COLUMN block BIGINT").await?;
        connection.execute_unprepared("DROP INDEX runs_unlogged").await?;
        for column in ["unpacked", "unpacked_since", "packed_bytes", "evicted"] {
            let add = format!("ALTER TABLE run_windows ADD COLUMN {column} BIGINT NOT NULL DEFAULT 0");
            connection.execute_unprepared(&add).await?;
        }
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        let count = "UPDATE run_windows SET unpacked = (SELECT COUNT(*) FROM runs \
                     WHERE runs.account_id = run_windows.account_id AND settled AND block IS NULL)";
        connection.execute_unprepared(count).await?;
        connection.execute_unprepared("INSERT INTO counters (name, value) VALUES ('samples', 0)").await.map(drop)
    }
}
