//! Queues, and the messages in them.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let queues = table("queues")
            .id("account_id")
            .text("name")
            .big("lease")
            .int("deliveries")
            .int("days")
            .big("created")
            .key(&["account_id", "name"]);
        let messages = table("queue_messages")
            .id("id")
            .id("account_id")
            .text("queue")
            .text("body")
            .int("deliveries")
            .big("visible")
            .id_null("lease")
            .flag("dead")
            .big("put")
            .key(&["id"]);
        for table in [queues, messages] {
            manager.create_table(table).await?;
        }
        let index = "CREATE INDEX queue_messages_waiting ON queue_messages (account_id, queue, dead, visible, id)";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
