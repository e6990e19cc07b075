//! The tables as Rust types, by noun.

/// One table: a module with sea-orm's `Model`, `Entity`, `Column` and `ActiveModel`.
macro_rules! table {
    ($(#[$doc:meta])* $module:ident = $table:literal { $($(#[$attr:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        pub(crate) mod $module {
            #![allow(unreachable_pub, reason = "sea-orm's derives write `pub`")]
            #[allow(unused_imports, reason = "not every table needs each type")]
            use super::*;
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model { $($(#[$attr])* pub $field: $type,)* }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

mod deployed;
mod identity;
mod logged;
mod platform;
mod queued;
mod ran;
mod stored;
mod submitted;

pub(crate) use deployed::{aliases, artifacts, functions, upload_quotas, versions};
pub(crate) use identity::{
    accounts, api_keys, invitations, members, password_resets, revoked_keys, second_factors, sessions, users,
};
pub(crate) use logged::{log_accounts, log_blocks, log_runs};
pub(crate) use platform::{
    audit, checkpoints, counters, idempotency, leader, node_checks, node_tokens, nodes, outbox, sources,
};
pub(crate) use queued::{messages, queues};
pub(crate) use ran::{Rival, blocks, run_logs, run_windows, runs, samples, usage_sums};
pub(crate) use stored::{
    blobs, models, store_drains, store_engines, store_epochs, store_horizon, store_keys, store_notes,
};
pub(crate) use submitted::{job_counts, job_inputs, job_outputs, job_steps, jobs, triggers};
