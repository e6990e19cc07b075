//! What the store keeps of an account is counted, and uploads that nothing needs any more go.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "ALTER TABLE upload_quotas ADD COLUMN pending_bytes BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE upload_quotas ADD COLUMN counted BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE upload_quotas ADD COLUMN parts TEXT",
            "CREATE INDEX versions_artifact ON versions (account_id, artifact)",
            "CREATE INDEX artifacts_created ON artifacts (created, digest)",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
