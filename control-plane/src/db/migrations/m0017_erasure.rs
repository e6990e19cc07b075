//! Accounts can be deleted.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDEX: &str = "CREATE INDEX accounts_to_erase ON accounts (deleted) WHERE deleted IS NOT NULL AND erased IS NULL";

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["deleted", "erased"] {
            let mut column = ColumnDef::new(Alias::new(name));
            let mut alter = Table::alter();
            alter.table(Alias::new("accounts")).add_column(column.big_integer().null());
            manager.alter_table(alter).await?;
        }
        manager.get_connection().execute_unprepared(INDEX).await?;
        Ok(())
    }
}
