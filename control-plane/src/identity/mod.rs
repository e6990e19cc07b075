//! Who asks, and what they may do.

pub(crate) mod accounts;
pub(crate) mod authority;
pub(crate) mod caller;
pub(crate) mod codes;
pub(crate) mod credentials;
pub(crate) mod devices;
pub(crate) mod invitations;
pub(crate) mod keys;
pub(crate) mod limiter;
mod mail_codes;
pub(crate) mod members;
mod normal;
pub(crate) mod passwords;
pub(crate) mod principals;
pub(crate) mod resets;
pub(crate) mod second_factor;
pub(crate) mod sessions;
pub(crate) mod signup;
pub(crate) mod standing;
pub(crate) mod tries;
