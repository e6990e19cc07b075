//! Blobs: what the store keeps, by whom it is referenced, and the epochs of those who write.
//!
//! A reference is the column `blob` of the owner's row itself. `root` names objects of earlier releases, until each has been
//! put again as a blob; rows that are written from now on have none.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Tables whose rows have objects of earlier releases.
const OWNERS: [&str; 5] = ["artifacts", "job_inputs", "job_outputs", "blocks", "log_blocks"];
/// Those in which each row had to have one.
const ROOTED: [&str; 2] = ["artifacts", "log_blocks"];

const INDICES: [&str; 10] = [
    "CREATE INDEX blobs_doomed ON blobs (doomed, id) WHERE doomed IS NOT NULL",
    "CREATE INDEX blobs_account ON blobs (account_id)",
    "CREATE INDEX store_epochs_open ON store_epochs (epoch) WHERE closed IS NULL",
    "CREATE INDEX models_published ON models (published)",
    // A block's body is a blob, or an object of an earlier release.
    "DROP INDEX blocks_held",
    "DROP INDEX blocks_bodies",
    "CREATE INDEX blocks_held ON blocks (account_id, last_run, first_run) WHERE root IS NOT NULL OR blob IS NOT NULL",
    "CREATE INDEX blocks_bodies ON blocks (last_run) WHERE root IS NOT NULL OR blob IS NOT NULL",
    "INSERT INTO counters (name, value) VALUES ('store_epochs', 0)",
    "INSERT INTO store_horizon (id, epoch, listed) VALUES (1, 0, 0)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let blobs = table("blobs")
            .text("id")
            .id_null("account_id")
            .big("size")
            .text("digest")
            .id("sealed_key")
            .big("created")
            .big_null("doomed");
        let epochs = table("store_epochs").big("epoch").text("holder").big("opened").big("until").big_null("closed");
        manager.create_table(blobs.key(&["id"])).await?;
        manager.create_table(epochs.key(&["epoch"])).await?;
        manager.create_table(table("store_horizon").int("id").big("epoch").big("listed").key(&["id"])).await?;
        manager.create_table(table("models").text("blob").big("published").key(&["blob"])).await?;
        let connection = manager.get_connection();
        for table in OWNERS {
            connection.execute_unprepared(&format!("ALTER TABLE {table} ADD COLUMN blob TEXT")).await?;
            let index = format!("CREATE INDEX {table}_blob ON {table} (blob) WHERE blob IS NOT NULL");
            connection.execute_unprepared(&index).await?;
        }
        for table in ROOTED {
            if manager.get_database_backend() == DbBackend::Postgres {
                let nullable = format!("ALTER TABLE {table} ALTER COLUMN root DROP NOT NULL");
                connection.execute_unprepared(&nullable).await?;
                continue;
            }
            // SQLite can change no column.
            for change in [
                format!("ALTER TABLE {table} ADD COLUMN legacy_root TEXT"),
                format!("UPDATE {table} SET legacy_root = root"),
                format!("ALTER TABLE {table} DROP COLUMN root"),
                format!("ALTER TABLE {table} RENAME COLUMN legacy_root TO root"),
            ] {
                connection.execute_unprepared(&change).await?;
            }
        }
        for statement in INDICES {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
