//! Keys, invitations and triggers say who made them: whoever removes a member sees what they leave behind.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["api_keys", "invitations", "triggers"] {
            let mut column = ColumnDef::new(Alias::new("user_id"));
            let mut alter = Table::alter();
            alter.table(Alias::new(table)).add_column(column.binary().null());
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
