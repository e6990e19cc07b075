//! Jobs, each step of their lives, what they put out, and triggers.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn jobs() -> Vec<TableCreateStatement> {
    vec![
        table("jobs")
            .id("id")
            .id("account_id")
            .id("function_id")
            .id("version_id")
            .int("version_number")
            .text("state")
            .text("reason")
            .flag("cancelling")
            .text("method")
            .text("path")
            .big("input_size")
            .text("limits")
            .int("retries")
            .big("backoff")
            .int("priority")
            .big_null("not_before")
            .text("labels")
            .id_null("array_id")
            .col("array_index", |c| c.integer().null())
            .text_null("webhook")
            .big_null("webhook_due")
            .int("webhook_tries")
            .big_null("webhook_delivered")
            .text_null("webhook_error")
            .big("due")
            .big("place")
            .int("attempts")
            .int("losses")
            .int("turns")
            .big("epoch")
            .id_null("run_id")
            .id_null("node_id")
            .text_null("lane")
            .col("status", |c| c.integer().null())
            .text_null("code")
            .text_null("usage")
            .text_null("placement")
            .big("output_size")
            .int("steps")
            .text("created_by")
            .big("created")
            .big_null("started")
            .big_null("ended")
            .big("revision")
            .key(&["id"]),
        table("job_inputs").id("job_id").text("headers").id_null("body").text_null("root").key(&["job_id"]),
        table("job_steps")
            .id("job_id")
            .int("step")
            .big("at")
            .text("state")
            .id_null("node_id")
            .id_null("run_id")
            .text("reason")
            .key(&["job_id", "step"]),
        table("triggers")
            .id("account_id")
            .text("name")
            .text_null("cron")
            .text_null("queue")
            .text("zone")
            .text("missed")
            .flag("paused")
            .text("job")
            .big_null("next")
            .big_null("last")
            .id_null("last_job")
            .text_null("error")
            .big("created")
            .key(&["account_id", "name"]),
        table("job_outputs")
            .id("job_id")
            .int("status")
            .text("headers")
            .id_null("body")
            .text_null("root")
            .key(&["job_id"]),
    ]
}

const INDICES: [&str; 9] = [
    "CREATE INDEX jobs_waiting ON jobs (account_id, place, due) WHERE state = 'queued'",
    "CREATE INDEX jobs_placed ON jobs (epoch) WHERE state IN ('placed', 'running')",
    "CREATE INDEX jobs_cancelling ON jobs (id) WHERE cancelling",
    "CREATE INDEX jobs_webhooks ON jobs (webhook_due) WHERE webhook_due IS NOT NULL",
    "CREATE INDEX jobs_account ON jobs (account_id, id)",
    "CREATE INDEX jobs_array ON jobs (array_id, id) WHERE array_id IS NOT NULL",
    "CREATE INDEX jobs_changes ON jobs (account_id, revision)",
    "CREATE INDEX triggers_due ON triggers (next) WHERE next IS NOT NULL",
    "CREATE INDEX jobs_old ON jobs (ended) WHERE ended IS NOT NULL",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in jobs() {
            manager.create_table(table).await?;
        }
        let connection = manager.get_connection();
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        connection.execute_unprepared("INSERT INTO counters (name, value) VALUES ('job', 0)").await?;
        Ok(())
    }
}
