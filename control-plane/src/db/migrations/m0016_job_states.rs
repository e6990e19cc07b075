//! An index by which an account's jobs are counted by state without reading the jobs themselves.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "CREATE INDEX jobs_states ON jobs (account_id, ended, state, function_id, version_number)";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
