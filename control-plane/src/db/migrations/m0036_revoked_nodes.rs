//! Nodes that were revoked are told from those that left; who has ended or shut out a node is kept, and when it was heard
//! last; nodes of the same machine are found.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const THEN: [&str; 2] = [
    "UPDATE nodes SET state = 'revoked' WHERE state = 'left' AND state_reason = 'it was revoked'",
    "CREATE INDEX nodes_machine ON nodes (machine)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(Alias::new(name));
        for column in [column("state_by").text().null().take(), column("seen").big_integer().null().take()] {
            let mut alter = Table::alter();
            alter.table(Alias::new("nodes")).add_column(column);
            manager.alter_table(alter).await?;
        }
        let connection = manager.get_connection();
        for statement in THEN {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
