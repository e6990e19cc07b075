//! Nodes of the operator's have disks, on which the store's segments are.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut alter = Table::alter();
        alter.table(Alias::new("nodes")).add_column(ColumnDef::new(Alias::new("disks")).text().null().take());
        manager.alter_table(alter).await?;
        let index = "CREATE INDEX nodes_disks ON nodes (id) WHERE disks IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }
}
