//! What a node said at the end of a call, until its receipt comes; how far runs are forgotten; how many jobs of an
//! account are open; and an index for each query of a loop that had none.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDICES: [&str; 9] = [
    "CREATE INDEX run_logs_at ON run_logs (at)",
    "CREATE INDEX queue_messages_order ON queue_messages (account_id, queue, dead, id)",
    "CREATE INDEX queue_messages_put ON queue_messages (account_id, queue, put)",
    "CREATE INDEX idempotency_created ON idempotency (created)",
    "CREATE INDEX sessions_expires ON sessions (expires)",
    "CREATE INDEX triggers_queues ON triggers (account_id, name) WHERE queue IS NOT NULL",
    "CREATE INDEX versions_compiling ON versions (id) WHERE state = 'compiling'",
    "CREATE INDEX jobs_due ON jobs (account_id, due) WHERE state = 'queued'",
    "CREATE INDEX jobs_fresh ON jobs (account_id) WHERE state = 'queued' AND not_before IS NULL AND attempts = 0 \
     AND losses = 0 AND turns = 0",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut ended = ColumnDef::new(Alias::new("ended"));
        let mut runs = Table::alter();
        runs.table(Alias::new("runs")).add_column(ended.text().null());
        manager.alter_table(runs).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared("INSERT INTO counters (name, value) VALUES ('pruned', 0)").await?;
        manager.create_table(table("job_counts").id("account_id").big("open").key(&["account_id"])).await?;
        connection
            .execute_unprepared(
                "INSERT INTO job_counts (account_id, open) \
                 SELECT account_id, COUNT(*) FROM jobs WHERE state IN ('queued', 'placed', 'running') GROUP BY account_id",
            )
            .await?;
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        Ok(())
    }
}
