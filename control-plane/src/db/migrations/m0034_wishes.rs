//! Nodes tell which caps were agreed, and owners lower them from afar.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["caps", "wish"] {
            let mut alter = Table::alter();
            alter.table(Alias::new("nodes")).add_column(ColumnDef::new(Alias::new(name)).text().null().take());
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
