//! Users may have a second factor.

use sea_orm_migration::prelude::*;

use super::draft::table;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[allow(elided_lifetimes_in_paths, reason = "the trait is written so")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let factors = table("second_factors")
            .id("user_id")
            .text("nonce")
            .big_null("confirmed")
            .big("last_step")
            .text("recovery")
            .big("created");
        manager.create_table(factors.key(&["user_id"])).await
    }
}
