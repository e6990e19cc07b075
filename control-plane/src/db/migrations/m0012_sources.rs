//! How far the numbered batches of each source are committed; and what further nodes claim of a run that no gateway has
//! told of yet.

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
        let mut rivals = ColumnDef::new(Alias::new("rivals"));
        let mut runs = Table::alter();
        runs.table(Alias::new("runs")).add_column(rivals.text().null());
        manager.alter_table(runs).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared("CREATE INDEX sources_seen ON sources (seen)").await.map(drop)
    }
}
