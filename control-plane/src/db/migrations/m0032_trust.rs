//! How far each node is trusted: its checks, what the operator vouches for, what its owner has confirmed.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const THEN: [&str; 4] = [
    "UPDATE nodes SET level = class WHERE class IN ('operator', 'verified')",
    "CREATE INDEX node_checks_node ON node_checks (node_id, at)",
    "CREATE INDEX node_checks_at ON node_checks (at)",
    "CREATE INDEX accounts_vouched ON accounts (id) WHERE vouched IS NOT NULL",
];

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(Alias::new(name));
        let count = |name| ("nodes", column(name).integer().not_null().default(0).take());
        let time = |name| column(name).big_integer().null().take();
        let columns = [
            ("nodes", column("level").text().not_null().default("new").take()),
            count("agreed"),
            count("agreed_operator"),
            count("asked"),
            count("answered"),
            ("nodes", column("speed").integer().null().take()),
            ("nodes", column("check_due").big_integer().not_null().default(0).take()),
            ("nodes", time("lied")),
            ("nodes", time("proven")),
            ("nodes", time("vouched")),
            ("nodes", time("confirmed")),
            ("accounts", time("vouched")),
        ];
        for (table, column) in columns {
            let mut alter = Table::alter();
            alter.table(Alias::new(table)).add_column(column);
            manager.alter_table(alter).await?;
        }
        let checks = table("node_checks")
            .id("run_id")
            .id("node_id")
            .big("at")
            .text("outcome")
            .flag("with_operator")
            .big_null("wall_us")
            .text_null("detail");
        manager.create_table(checks.key(&["run_id"])).await?;
        let connection = manager.get_connection();
        for statement in THEN {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
