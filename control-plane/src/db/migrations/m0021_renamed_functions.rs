//! Functions may be renamed: the name before stays known.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut column = ColumnDef::new(Alias::new("former"));
        let mut alter = Table::alter();
        alter.table(Alias::new("functions")).add_column(column.text().null());
        manager.alter_table(alter).await?;
        let index = "CREATE INDEX functions_former ON functions (account_id, former)";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
