//! Indices of the audit: an account's newest changes, and the oldest of all.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDICES: [&str; 2] =
    ["CREATE INDEX audit_account ON audit (account_id, at, revision)", "CREATE INDEX audit_at ON audit (at)"];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        Ok(())
    }
}
