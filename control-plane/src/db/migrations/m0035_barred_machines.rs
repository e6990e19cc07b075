//! What is held against a node stays with its machine; nodes of accounts that were deleted have left.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const THEN: [&str; 3] = [
    "UPDATE nodes SET barred = 'it returned a wrong result' WHERE lied IS NOT NULL",
    "UPDATE nodes SET barred = state_reason WHERE state = 'suspended'",
    "UPDATE nodes SET state = 'left', state_reason = 'its account was deleted', \
     state_since = (SELECT accounts.deleted FROM accounts WHERE accounts.id = nodes.account_id) \
     WHERE state <> 'left' AND class = 'any' \
     AND account_id IN (SELECT accounts.id FROM accounts WHERE accounts.deleted IS NOT NULL)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut alter = Table::alter();
        alter.table(Alias::new("nodes")).add_column(ColumnDef::new(Alias::new("barred")).text().null().take());
        manager.alter_table(alter).await?;
        let connection = manager.get_connection();
        for statement in THEN {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
