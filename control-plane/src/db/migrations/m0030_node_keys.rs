//! Nodes make their keys themselves; the platform keeps all public halves.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["nats_key", "ticket_key"] {
            let mut column = ColumnDef::new(Alias::new(name));
            let mut table = Table::alter();
            table.table(Alias::new("nodes")).add_column(column.text().null());
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}
