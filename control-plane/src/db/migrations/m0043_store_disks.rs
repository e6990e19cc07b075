//! Disks of the store that are to be taken out, and what is known of the copies.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(table("store_drains").text("disk").big("since").key(&["disk"])).await?;
        manager.create_table(table("store_notes").text("name").text("note").key(&["name"])).await
    }
}
