//! Whose revoked keys were; and an index of each account's jobs that are on nodes.

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
        let connection = manager.get_connection();
        for sql in [
            "CREATE INDEX revoked_keys_account ON revoked_keys (account_id, revoked)",
            "CREATE INDEX jobs_running ON jobs (account_id) WHERE state IN ('placed', 'running')",
        ] {
            connection.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
