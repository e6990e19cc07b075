//! Objects of earlier releases are found by their roots, until each has been put again as a blob.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const OWNERS: [&str; 5] = ["artifacts", "job_inputs", "job_outputs", "blocks", "log_blocks"];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in OWNERS {
            let index = format!("CREATE INDEX {table}_root ON {table} (root) WHERE root IS NOT NULL");
            manager.get_connection().execute_unprepared(&index).await?;
        }
        Ok(())
    }
}
