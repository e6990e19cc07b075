//! Images of the VM lane: what an artifact is, and what it stands on.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["form", "base", "command"] {
            let mut column = ColumnDef::new(Alias::new(name));
            let mut table = Table::alter();
            table.table(Alias::new("versions")).add_column(column.text().null());
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}
