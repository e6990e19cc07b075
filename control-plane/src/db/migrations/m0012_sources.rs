//! How far the numbered batches of each source are committed.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sources = table("sources").id("epoch").big("committed").text("digest").big("seen").key(&["epoch"]);
        manager.create_table(sources).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared("CREATE INDEX sources_seen ON sources (seen)").await.map(drop)
    }
}
