//! Machines join with tokens, and each node has a state.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const THEN: [&str; 7] = [
    "UPDATE nodes SET state = 'online' WHERE hello IS NOT NULL",
    "UPDATE nodes SET state_since = created",
    "CREATE UNIQUE INDEX nodes_nats_key ON nodes (nats_key)",
    "CREATE INDEX nodes_public_key ON nodes (public_key)",
    "CREATE INDEX nodes_ticket_key ON nodes (ticket_key)",
    "CREATE INDEX node_tokens_account ON node_tokens (account_id, expires)",
    "CREATE INDEX node_tokens_expires ON node_tokens (expires)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(Alias::new(name));
        let columns = [
            column("state").text().not_null().default("joining").take(),
            column("state_reason").text().null().take(),
            column("state_since").big_integer().not_null().default(0).take(),
            column("machine").text().null().take(),
            column("machine_boot").text().null().take(),
            column("starts").big_integer().not_null().default(0).take(),
            column("start").text().null().take(),
        ];
        for column in columns {
            let mut alter = Table::alter();
            alter.table(Alias::new("nodes")).add_column(column);
            manager.alter_table(alter).await?;
        }
        let tokens = table("node_tokens")
            .id("id")
            .id_null("account_id")
            .id("node_id")
            .text("public_key")
            .text("class")
            .text_null("name")
            .big("created")
            .big("expires")
            .big_null("used")
            .text_null("used_by")
            .text_null("response");
        manager.create_table(tokens.key(&["id"])).await?;
        let connection = manager.get_connection();
        for statement in THEN {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
