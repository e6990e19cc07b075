//! Who asks, and what they may do.

pub(crate) mod accounts;
pub(crate) mod caller;
pub(crate) mod credentials;
pub(crate) mod invitations;
pub(crate) mod keys;
pub(crate) mod logins;
pub(crate) mod members;
pub(crate) mod passwords;
pub(crate) mod sessions;
pub(crate) mod signup;
