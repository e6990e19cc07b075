//! Versions keep what was found in their artifact, and what was left out.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut column = ColumnDef::new(Alias::new("notes"));
        let mut alter = Table::alter();
        alter.table(Alias::new("versions")).add_column(column.text().null());
        manager.alter_table(alter).await
    }
}
