//! The places of the portal, one file each.

pub(crate) mod account_new;
pub(crate) mod analytics;
pub(crate) mod auth;
pub(crate) mod dashboard;
pub(crate) mod deploy;
pub(crate) mod function;
pub(crate) mod function_aliases;
pub(crate) mod function_logs;
pub(crate) mod function_new;
pub(crate) mod function_settings;
pub(crate) mod function_test;
pub(crate) mod function_triggers;
pub(crate) mod function_versions;
pub(crate) mod functions;
pub(crate) mod invite;
pub(crate) mod job;
pub(crate) mod job_new;
pub(crate) mod jobs;
pub(crate) mod nodes;
pub(crate) mod not_found;
pub(crate) mod runs;
pub(crate) mod security;
pub(crate) mod settings;
pub(crate) mod settings_keys;
pub(crate) mod settings_team;
pub(crate) mod test_answer;
