//! An index by which an account's jobs are listed in the order of their ends. Only those that have ended are in it: a
//! submission does not touch it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "CREATE INDEX jobs_by_end ON jobs (account_id, ended, id) WHERE ended IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
