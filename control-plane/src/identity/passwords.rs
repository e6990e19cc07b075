//! Passwords: argon2id, off the async threads, a few at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::error::{Error, Result, invalid};

/// Shortest password.
pub(crate) const LENGTH_MIN: usize = 10;
/// Longest: what is longer only costs time.
pub(crate) const LENGTH_MAX: usize = 200;

/// Hashes and checks.
pub(crate) struct Passwords {
    params: Params,
    gate: Semaphore,
    /// The hash of nobody's password: an unknown e-mail address takes as long as a wrong password.
    decoy: String,
}

impl Passwords {
    /// With the configuration's costs.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let params = Params::new(config.password_memory_kib, config.password_passes, 1, None)
            .map_err(|error| Error::Internal(format!("password costs: {error}")))?;
        let decoy = hash(&params, "no password is this")?;
        Ok(Self { params, gate: Semaphore::new(config.password_hashes_max), decoy })
    }

    /// Refuses what is too short or too long.
    pub(crate) fn check(password: &str, field: &str) -> Result<()> {
        if (LENGTH_MIN..=LENGTH_MAX).contains(&password.chars().count()) {
            return Ok(());
        }
        Err(invalid(field, format!("a password has {LENGTH_MIN} to {LENGTH_MAX} characters")))
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: &str) -> Result<String> {
        let (params, password) = (self.params.clone(), password.to_owned());
        self.off_thread(move || hash(&params, &password)).await?
    }

    /// Whether the password is right; where there is no user it takes as long.
    pub(crate) async fn verify(&self, stored: Option<&str>, password: &str) -> Result<bool> {
        let (known, stored) = (stored.is_some(), stored.unwrap_or(&self.decoy).to_owned());
        let password = password.to_owned();
        let right = move || {
            let parsed = PasswordHash::new(&stored).ok();
            parsed.is_some_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
        };
        Ok(self.off_thread(right).await? && known)
    }

    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _permit = self.gate.acquire().await.map_err(|error| Error::Internal(error.to_string()))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
    }
}

fn hash(params: &Params, password: &str) -> Result<String> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Internal(format!("hashing: {error}")))
}
