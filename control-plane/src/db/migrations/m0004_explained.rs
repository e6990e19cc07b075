//! Runs say why they went where they went, of which job they are, and what the node had of their artifact: the
//! scheduler learns from it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut warm = ColumnDef::new(Alias::new("warm"));
        let mut cached = ColumnDef::new(Alias::new("cached"));
        let mut placement = ColumnDef::new(Alias::new("placement"));
        let mut job = ColumnDef::new(Alias::new("job_id"));
        let columns = [warm.boolean().null(), cached.boolean().null(), placement.text().null(), job.binary().null()];
        for column in columns {
            let mut table = Table::alter();
            table.table(Alias::new("runs")).add_column(column);
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}
