//! The first schema. The same for SQLite and PostgreSQL: plain types, partial indices, no triggers.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn identity() -> Vec<TableCreateStatement> {
    vec![
        table("users").id("id").text("email").text("password").flag("operator").big("created").key(&["id"]),
        table("accounts").id("id").text("name").text("kind").big("created").key(&["id"]),
        table("members").id("account_id").id("user_id").text("role").big("joined").key(&["account_id", "user_id"]),
        table("invitations")
            .id("id")
            .id("account_id")
            .text("sha256")
            .text("role")
            .text_null("email")
            .big("created")
            .big("expires")
            .id_null("used_by")
            .key(&["id"]),
        table("sessions")
            .id("id")
            .id("user_id")
            .text("sha256")
            .text("user_agent")
            .big("created")
            .big("last_used")
            .big("expires")
            .key(&["id"]),
        table("api_keys")
            .id("id")
            .id("account_id")
            .text("sha256")
            .text("name")
            .text("scopes")
            .id_null("function_id")
            .big("created")
            .big_null("expires")
            .big_null("last_used")
            .key(&["id"]),
    ]
}

fn functions() -> Vec<TableCreateStatement> {
    vec![
        table("functions")
            .id("id")
            .id("account_id")
            .text("name")
            .flag("public")
            .int("latest")
            .big("revision")
            .big("created")
            .big("updated")
            .big_null("deleted")
            .key(&["id"]),
        table("versions")
            .id("id")
            .id("account_id")
            .id("function_id")
            .int("number")
            .text("state")
            .text_null("problem")
            .text("artifact")
            .big("artifact_size")
            .text_null("kind")
            .text_null("format")
            .text("lane")
            .text("placement")
            .text("egress")
            .text("limits")
            .text("env")
            .text("alias")
            .text("created_by")
            .big("created")
            .key(&["id"]),
        table("aliases")
            .id("function_id")
            .text("name")
            .id("account_id")
            .text("shares")
            .text_null("previous")
            .big("revision")
            .big("updated")
            .key(&["function_id", "name"]),
        table("artifacts")
            .id("account_id")
            .text("digest")
            .big("size")
            .text("root")
            .big("created")
            .key(&["account_id", "digest"]),
    ]
}

fn platform() -> Vec<TableCreateStatement> {
    vec![
        table("nodes")
            .id("id")
            .id_null("account_id")
            .text("name")
            .text("class")
            .text_null("public_key")
            .text("arch")
            .text("os")
            .text("software")
            .int("protocol")
            .int("cores")
            .big("memory")
            .text("lanes")
            .int("slots")
            .big("checkpoint")
            .text("checkpoint_digest")
            .big("created")
            .big_null("hello")
            .key(&["id"]),
        table("checkpoints")
            .id("node_id")
            .big("sequence")
            .text("digest")
            .int("receipts")
            .big("created")
            .key(&["node_id", "sequence"]),
        table("audit")
            .big("revision")
            .id_null("account_id")
            .text("actor")
            .text("action")
            .text("target")
            .big("at")
            .key(&["revision"]),
        table("outbox")
            .big("revision")
            .int("part")
            .id_null("account_id")
            .text("kind")
            .text("key")
            .text("payload")
            .big("at")
            .key(&["revision", "part"]),
        table("counters").text("name").big("value").key(&["name"]),
        table("leader").int("id").big("epoch").id("instance").big("until").key(&["id"]),
        table("idempotency")
            .text("id")
            .text("request")
            .flag("effect")
            .id("instance")
            .col("status", |c| c.integer().null())
            .id_null("answer")
            .big("created")
            .key(&["id"]),
    ]
}

fn runs() -> Vec<TableCreateStatement> {
    vec![
        table("runs")
            .id("run_id")
            .id("account_id")
            .id("function_id")
            .id("version_id")
            .int("version_number")
            .id_null("node_id")
            .text("lane")
            .text("outcome")
            .int("status")
            .text_null("code")
            .text("method")
            .text("path")
            .big("received")
            .big("wall_us")
            .text_null("limits")
            .text_null("claimed")
            .text_null("observed")
            .text("billed")
            .text_null("flag")
            .flag("settled")
            .big_null("segment")
            .big("arrived")
            .key(&["run_id"]),
        table("run_logs")
            .big("id")
            .id("account_id")
            .id("function_id")
            .id("run_id")
            .int("sequence")
            .big("at")
            .text("stream")
            .text("text")
            .key(&["id"]),
        table("usage_minutes")
            .id("account_id")
            .id("function_id")
            .big("minute")
            .big("runs")
            .big("succeeded")
            .big("failed")
            .big("timed_out")
            .big("cancelled")
            .big("platform_failed")
            .big("flagged")
            .big("wall_us")
            .big("cpu_us")
            .big("memory_kib_ms")
            .big("bytes_in")
            .big("bytes_out")
            .key(&["account_id", "function_id", "minute"]),
        table("segments")
            .big("number")
            .text("digest")
            .text("root")
            .big("size")
            .big("receipts")
            .big("created")
            .key(&["number"]),
    ]
}

/// Both databases read these alike.
const INDICES: [&str; 16] = [
    "CREATE UNIQUE INDEX users_email ON users (email)",
    "CREATE UNIQUE INDEX accounts_name ON accounts (name)",
    "CREATE INDEX members_user ON members (user_id)",
    "CREATE UNIQUE INDEX invitations_sha256 ON invitations (sha256)",
    "CREATE UNIQUE INDEX sessions_sha256 ON sessions (sha256)",
    "CREATE INDEX sessions_user ON sessions (user_id)",
    "CREATE UNIQUE INDEX api_keys_sha256 ON api_keys (sha256)",
    "CREATE INDEX api_keys_account ON api_keys (account_id)",
    "CREATE UNIQUE INDEX functions_name ON functions (account_id, name) WHERE deleted IS NULL",
    "CREATE UNIQUE INDEX versions_number ON versions (account_id, function_id, number)",
    "CREATE INDEX runs_account ON runs (account_id, run_id)",
    "CREATE INDEX runs_function ON runs (account_id, function_id, run_id)",
    "CREATE INDEX runs_open ON runs (arrived) WHERE NOT settled",
    "CREATE INDEX runs_unlogged ON runs (run_id) WHERE settled AND segment IS NULL",
    "CREATE INDEX run_logs_function ON run_logs (account_id, function_id, id)",
    "CREATE UNIQUE INDEX run_logs_run ON run_logs (run_id, sequence)",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [identity(), functions(), platform(), runs()].into_iter().flatten() {
            manager.create_table(table).await?;
        }
        let connection = manager.get_connection();
        for index in INDICES {
            connection.execute_unprepared(index).await?;
        }
        for counter in ["revision", "log", "published", "settle"] {
            connection
                .execute_unprepared(&format!("INSERT INTO counters (name, value) VALUES ('{counter}', 0)"))
                .await?;
        }
        Ok(())
    }
}
