//! Which store this is, which of its engines have been marked, and a check of the root secret.
//!
//! Where blobs were put before there were marks, engines have none, and get theirs later. Where there were objects of an
//! earlier release, their store may be removed when all of them have been put again: nobody else's is.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const NOTES: [&str; 2] = [
    "UPDATE store_horizon SET unmarked = TRUE WHERE EXISTS (SELECT 1 FROM blobs)",
    "UPDATE store_horizon SET rooted = TRUE WHERE EXISTS (SELECT 1 FROM artifacts WHERE root IS NOT NULL) \
     OR EXISTS (SELECT 1 FROM job_inputs WHERE root IS NOT NULL) \
     OR EXISTS (SELECT 1 FROM job_outputs WHERE root IS NOT NULL) \
     OR EXISTS (SELECT 1 FROM blocks WHERE root IS NOT NULL) \
     OR EXISTS (SELECT 1 FROM log_blocks WHERE root IS NOT NULL)",
];

fn column(name: &'static str) -> ColumnDef {
    ColumnDef::new(Alias::new(name))
}

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for mut column in [
            column("store").binary().null().take(),
            column("key_check").binary().null().take(),
            column("rooted").boolean().not_null().default(false).take(),
            column("unmarked").boolean().not_null().default(false).take(),
        ] {
            let mut alter = Table::alter();
            manager.alter_table(alter.table(Alias::new("store_horizon")).add_column(&mut column).to_owned()).await?;
        }
        manager.create_table(table("store_engines").text("name").key(&["name"])).await?;
        for statement in NOTES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
