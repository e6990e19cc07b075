//! How many copies the store keeps, and which places its engines are, by whatever names they are reached.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut copies = ColumnDef::new(Alias::new("copies")).integer().not_null().default(0).take();
        let mut horizon = Table::alter();
        manager.alter_table(horizon.table(Alias::new("store_horizon")).add_column(&mut copies).to_owned()).await?;
        let mut place = ColumnDef::new(Alias::new("place")).binary().null().take();
        let mut engines = Table::alter();
        manager.alter_table(engines.table(Alias::new("store_engines")).add_column(&mut place).to_owned()).await
    }
}
