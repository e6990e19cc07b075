//! Each blob's row says under which master key its key is sealed. Those that are there are of the one that is derived from the
//! root secret: number 0.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(table("store_keys").int("number").text("fingerprint").key(&["number"])).await?;
        for statement in [
            "ALTER TABLE blobs ADD COLUMN master INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX blobs_master ON blobs (master, id)",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        // Whoever does not know of numbers must not write a row without one.
        if manager.get_database_backend() == DbBackend::Postgres {
            let undefined = "ALTER TABLE blobs ALTER COLUMN master DROP DEFAULT";
            manager.get_connection().execute_unprepared(undefined).await?;
        }
        Ok(())
    }
}
