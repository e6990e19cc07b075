//! Links with which a user sets a new password; one of each user.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let resets = table("password_resets").id("user_id").text("sha256").big("expires");
        manager.create_table(resets.key(&["user_id"])).await?;
        let index = "CREATE UNIQUE INDEX password_resets_sha256 ON password_resets (sha256)";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
