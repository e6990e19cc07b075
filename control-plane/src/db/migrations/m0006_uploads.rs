//! How much each account has uploaded.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let uploads = table("upload_quotas")
            .id("account_id")
            .big("window_began")
            .big("window_bytes")
            .big("stored_bytes")
            .key(&["account_id"]);
        manager.create_table(uploads).await?;
        // What accounts have uploaded so far.
        let sql = "INSERT INTO upload_quotas (account_id, window_began, window_bytes, stored_bytes) \
                   SELECT account_id, 0, 0, CAST(SUM(size) AS BIGINT) FROM artifacts GROUP BY account_id";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }
}
