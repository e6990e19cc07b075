//! Each account's window of runs: how many rows it has, and how far they are forgotten. And indices: of runs that went
//! wrong, and of checkpoints and invitations by their age.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDICES: [&str; 4] = [
    "CREATE INDEX runs_wrong ON runs (account_id, run_id) WHERE outcome <> 'succeeded' OR status >= 400",
    "CREATE INDEX runs_function_wrong ON runs (account_id, function_id, run_id) \
     WHERE outcome <> 'succeeded' OR status >= 400",
    "CREATE INDEX checkpoints_created ON checkpoints (created)",
    "CREATE INDEX invitations_expires ON invitations (expires)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let windows =
            table("run_windows").id("account_id").big("runs").big("forgotten").big("trimmed").key(&["account_id"]);
        manager.create_table(windows).await?;
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                "INSERT INTO run_windows (account_id, runs, forgotten, trimmed) \
                 SELECT account_id, COUNT(*), 0, 0 FROM runs GROUP BY account_id",
            )
            .await?;
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        Ok(())
    }
}
