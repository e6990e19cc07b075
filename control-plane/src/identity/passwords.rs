//! Passwords: argon2id, off the async threads, a few at once. A new one has a length, and is none of those that are
//! guessed first: common ones, simple patterns, the user's own address or account. Nothing else is demanded.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use protocol::Code;
use tokio::sync::Semaphore;

use super::normal;
use crate::config::Config;
use crate::error::{Error, Result, invalid, refuse};

/// Shortest password.
pub(crate) const LENGTH_MIN: usize = 10;
/// Longest: what is longer only costs time.
pub(crate) const LENGTH_MAX: usize = 128;
/// Who guesses, likeliest first, finds none that is allowed before so many.
const GUESSES_MIN: u64 = 100_000;
/// What everybody knows who tries it here.
const OF_THE_PLATFORM: &str = "crowdcloud";

/// The longest that is compared, in bytes: earlier releases took 200 characters.
const PASSWORD_SIZE_MAX: usize = 800;
/// The longest that is looked at, in bytes: the same characters may be typed in several code points each.
const TYPED_SIZE_MAX: usize = 4 * 1024;

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is another password, or there is no user.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, which an earlier release has hashed as it was typed: it should be hashed anew.
    RightAsTyped,
}

/// Hashes and checks.
pub(crate) struct Passwords {
    params: Params,
    gate: Semaphore,
    /// Those that wait at the gate.
    line: Semaphore,
    /// The hash of nobody's password: an unknown e-mail address takes as long as a wrong password.
    decoy: String,
}

impl Passwords {
    /// With the configuration's costs.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let params = Params::new(config.password_memory_kib, config.password_passes, 1, None)
            .map_err(|error| Error::Internal(format!("password costs: {error}")))?;
        let decoy = hash(&params, "no password is this")?;
        let line = Semaphore::new(config.password_hashes_max.saturating_add(config.password_waits_max));
        Ok(Self { params, gate: Semaphore::new(config.password_hashes_max), line, decoy })
    }

    /// Refuses what is too short or too long, at once.
    pub(crate) fn check(password: &str, field: &str) -> Result<()> {
        let typed = password.len() <= TYPED_SIZE_MAX;
        if typed && (LENGTH_MIN..=LENGTH_MAX).contains(&normal::password(password).chars().count()) {
            return Ok(());
        }
        Err(invalid(field, format!("a password has {LENGTH_MIN} to {LENGTH_MAX} characters")))
    }

    /// The hash of a new password that stands in this field, unless it is guessed too easily; `own` is what is known of
    /// its user.
    pub(crate) async fn hash(&self, password: &str, field: &'static str, own: &[&str]) -> Result<String> {
        let own: Vec<String> = words(own).collect();
        let (params, password) = (self.params.clone(), normal::password(password).into_owned());
        let work = move || {
            if is_guessed_first(&password, &own) {
                let why = "the password is one of the first that somebody would guess; choose another one, such as a few \
                           words that do not belong together";
                return Err(invalid(field, why));
            }
            hash(&params, &password)
        };
        self.off_thread(work).await?
    }

    /// The hash of a password that is a user's already.
    pub(crate) async fn hash_anew(&self, password: &str) -> Result<String> {
        let (params, password) = (self.params.clone(), normal::password(password).into_owned());
        self.off_thread(move || hash(&params, &password)).await?
    }

    /// Whether it may be somebody's password; nothing is done with what is longer.
    pub(crate) fn may_be_one(password: &str) -> bool {
        password.len() <= TYPED_SIZE_MAX && normal::password(password).len() <= PASSWORD_SIZE_MAX
    }

    /// Whether the password is right; where there is no user it takes as long.
    pub(crate) async fn verify(&self, stored: Option<&str>, password: &str) -> Result<Verdict> {
        let (known, stored) = (stored.is_some(), stored.unwrap_or(&self.decoy).to_owned());
        let typed = password.to_owned();
        let compare = move || {
            let Ok(parsed) = PasswordHash::new(&stored) else { return Verdict::Wrong };
            let is = |password: &str| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
            let normal = normal::password(&typed);
            if is(&normal) {
                Verdict::Right
            } else if *normal != *typed && is(&typed) {
                Verdict::RightAsTyped
            } else {
                Verdict::Wrong
            }
        };
        let verdict = self.off_thread(compare).await?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = |_| refuse(Code::RateLimited, "Too many passwords are being checked at this moment.");
        let _place = self.line.try_acquire().map_err(busy)?;
        let _permit = self.gate.acquire().await.map_err(|error| Error::Internal(error.to_string()))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
    }
}

/// An address, a name, and their parts.
fn words<'a>(own: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let parts = own.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() > 2));
    own.iter().copied().chain(parts).chain([OF_THE_PLATFORM]).map(str::to_lowercase)
}

/// Whether it is common, or a pattern such as a row of keys, or made of what is known of the user.
fn is_guessed_first(password: &str, own: &[String]) -> bool {
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    zxcvbn::zxcvbn(password, &own).guesses() < GUESSES_MIN
}

fn hash(params: &Params, password: &str) -> Result<String> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Internal(format!("hashing: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a25_what_is_guessed_first_is_refused_and_nothing_else() {
        let own: Vec<String> = words(&["ada.lovelace@example.org", "analytical-engines"]).collect();
        for bad in [
            "1234567890",
            "0987654321",
            "qwertyuiop",
            "asdfghjkl;",
            "1q2w3e4r5t",
            "          ",
            "aaaaaaaaaa",
            "abcdefghij",
            "abcabcabcabc",
            "password123",
            "Passw0rd123",
            "iloveyou12",
            "passwordpassword",
            "crowdcloud",
            "CrowdCloud1",
            "ada.lovelace@example.org",
            "adalovelace",
            "LovelaceAda",
            "analytical-engines",
            "analyticalengines",
        ] {
            assert!(is_guessed_first(bad, &own), "{bad:?}");
        }
        for good in [
            "correct horse",
            "battery staple",
            "kvmxqplrwt",
            "ГрустныйКит7",
            "二十匹の猫と一匹の犬がいる",
            "8f2a90c4d1",
            "ada likes long walks",
            "ten red kites",
        ] {
            assert!(!is_guessed_first(good, &own), "{good:?}");
        }
    }

    #[tokio::test]
    async fn f31_a_hash_of_what_was_typed_still_holds() {
        let config = Config { password_memory_kib: 8, password_passes: 1, ..Config::default() };
        let passwords = Passwords::new(&config).unwrap();
        let (composed, decomposed) = ("gr\u{fc}ne Wiese", "gru\u{308}ne Wiese");
        let verify = async |stored: &str, typed: &str| passwords.verify(Some(stored), typed).await.unwrap();
        let new = passwords.hash(decomposed, "password", &[]).await.unwrap();
        for typed in [composed, decomposed, "gr\u{fc}ne\u{a0}Wiese"] {
            assert_eq!(verify(&new, typed).await, Verdict::Right, "{typed:?}");
        }
        assert_eq!(verify(&new, "grune Wiese").await, Verdict::Wrong);
        let old = hash(&passwords.params, decomposed).unwrap();
        assert_eq!(verify(&old, decomposed).await, Verdict::RightAsTyped);
        assert_eq!(verify(&old, composed).await, Verdict::Wrong);
        let anew = passwords.hash_anew(decomposed).await.unwrap();
        assert_eq!(verify(&anew, composed).await, Verdict::Right);
        assert_eq!(passwords.verify(None, decomposed).await.unwrap(), Verdict::Wrong);
    }

    #[test]
    fn f31_the_length_is_that_of_the_characters() {
        let typed = "u\u{308}".repeat(LENGTH_MAX);
        assert!(Passwords::check(&typed, "password").is_ok() && Passwords::may_be_one(&typed));
        assert!(Passwords::check(&"u\u{308}".repeat(LENGTH_MIN - 1), "password").is_err());
        assert!(Passwords::check(&"u\u{308}".repeat(LENGTH_MAX + 1), "password").is_err());
    }

    #[test]
    fn a25_ten_to_128_characters() {
        for (length, allowed) in [(9, false), (10, true), (128, true), (129, false)] {
            for character in ['x', 'ü', '猫'] {
                let password: String = std::iter::repeat_n(character, length).collect();
                assert_eq!(Passwords::check(&password, "password").is_ok(), allowed, "{length} {character}");
            }
        }
    }
}
