//! Whose revoked keys were; which deleted functions were purged; and indices of each account's jobs that are on nodes, and
//! of the tries of jobs that are over.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let keys = table("revoked_keys").id("id").id("account_id").text("name").id_null("user_id").big("revoked");
        manager.create_table(keys.key(&["id"])).await?;
        let mut purged = ColumnDef::new(Alias::new("purged"));
        let mut functions = Table::alter();
        functions.table(Alias::new("functions")).add_column(purged.big_integer().null());
        manager.alter_table(functions).await?;
        let connection = manager.get_connection();
        for sql in [
            "CREATE INDEX revoked_keys_account ON revoked_keys (account_id, revoked)",
            "CREATE INDEX jobs_running ON jobs (account_id) WHERE state IN ('placed', 'running')",
            "CREATE INDEX job_steps_over ON job_steps (run_id) \
             WHERE state IN ('queued', 'cancelled') AND run_id IS NOT NULL",
            "CREATE INDEX functions_deleted ON functions (deleted) WHERE deleted IS NOT NULL AND purged IS NULL",
        ] {
            connection.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
