//! What is deployed: functions, their immutable versions, and the aliases that point at them.

pub(crate) mod aliases;
pub(crate) mod artifacts;
pub(crate) mod capacity;
pub(crate) mod ends;
pub(crate) mod fields;
#[allow(clippy::module_inception, reason = "the noun is the same")]
pub(crate) mod functions;
pub(crate) mod prepare;
pub(crate) mod purge;
pub(crate) mod rename;
pub(crate) mod route;
pub(crate) mod upload_quota;
pub(crate) mod versions;
