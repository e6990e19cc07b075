//! Passwords: argon2id, off the async threads, a few at once. A new one has a length, and is none of those that are
//! guessed first: common ones, simple patterns, the user's own address or account. Nothing else is demanded.

mod guessable;
mod hasher;

use std::sync::Arc;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use fabric::shares::{Over, Shares};
use protocol::Code;

use super::limiter::Key;
use super::normal;
use crate::config::Config;
use crate::error::{Error, Result, invalid, refuse};
use crate::finite;

use guessable::{is_guessed_first, words};
use hasher::Hasher;

/// Shortest password.
pub(crate) const LENGTH_MIN: usize = 10;
/// Longest: what is longer only costs time.
pub(crate) const LENGTH_MAX: usize = 128;

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
    /// It is the password, and should be hashed anew: it was hashed as it was typed, by an earlier release, or with other
    /// costs than those of now.
    RightToRenew,
}

/// Hashes and checks.
pub(crate) struct Passwords {
    hasher: Arc<Hasher>,
    /// Whose passwords are hashed, or wait for it: a client's, or a user's who is known.
    hashes: Shares<Key>,
    /// The same for estimates of how easily they are guessed: a log-in waits for none.
    estimates: Shares<Key>,
    /// The hash of nobody's password: an unknown e-mail address takes as long as a wrong password.
    decoy: String,
}

impl Passwords {
    /// With the configuration's costs.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let params = Params::new(config.password_memory_kib, config.password_passes, 1, None)
            .map_err(|error| Error::Internal(format!("password costs: {error}")))?;
        let hasher = Hasher::new(params);
        let decoy = hasher.hash("no password is this")?;
        let shares = || finite::passwords(config);
        Ok(Self { hasher: Arc::new(hasher), hashes: shares(), estimates: shares(), decoy })
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
    pub(crate) async fn hash(&self, who: Key, password: &str, field: &'static str, own: &[&str]) -> Result<String> {
        let (own, estimated) = (words(own), normal::password(password).into_owned());
        if off_thread(&self.estimates, who, move || is_guessed_first(&estimated, &own)).await? {
            let why = "the password is one of the first that somebody would guess; choose another one, such as a few \
                       words that do not belong together";
            return Err(invalid(field, why));
        }
        self.hash_anew(who, password).await
    }

    /// The hash of a password that is a user's already.
    pub(crate) async fn hash_anew(&self, who: Key, password: &str) -> Result<String> {
        let (hasher, password) = (Arc::clone(&self.hasher), normal::password(password).into_owned());
        off_thread(&self.hashes, who, move || hasher.hash(&password)).await?
    }

    /// Whether it may be somebody's password; nothing is done with what is longer.
    pub(crate) fn may_be_one(password: &str) -> bool {
        password.len() <= TYPED_SIZE_MAX && normal::password(password).len() <= PASSWORD_SIZE_MAX
    }

    /// Refuses whose password would have to wait, where too many of theirs wait: before anything is looked up.
    pub(crate) fn refuse_early(&self, who: Key) -> Result<()> {
        self.hashes.refuses(&who).map_or(Ok(()), |over| Err(refused(over)))
    }

    /// Whether the password is right; where there is no user it takes as long.
    pub(crate) async fn verify(&self, who: Key, stored: Option<&str>, password: &str) -> Result<Verdict> {
        let (known, stored) = (stored.is_some(), stored.unwrap_or(&self.decoy).to_owned());
        let (hasher, typed) = (Arc::clone(&self.hasher), password.to_owned());
        let compare = move || {
            let Ok(parsed) = PasswordHash::new(&stored) else { return Verdict::Wrong };
            let is = |password: &str| hasher.is(&parsed, password);
            let normal = normal::password(&typed);
            if is(&normal) {
                if hasher.is_current(&parsed) { Verdict::Right } else { Verdict::RightToRenew }
            } else if *normal != *typed && is(&typed) {
                Verdict::RightToRenew
            } else {
                Verdict::Wrong
            }
        };
        let verdict = off_thread(&self.hashes, who, compare).await?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }
}

/// Works when it is this client's or user's turn.
async fn off_thread<T: Send + 'static>(
    shares: &Shares<Key>,
    who: Key,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let held = shares.take(who).await.map_err(refused)?;
    // Its place is taken until it is done, also where whoever asked has gone.
    let work = move || {
        let _held = held;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
}

fn refused(over: Over) -> Error {
    match over {
        Over::Share => refuse(Code::ShareExceeded, "Too many passwords of this network or user wait to be checked."),
        Over::Total => refuse(Code::RateLimited, "Too many passwords are being checked at this moment."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a06_whoever_waits_for_many_holds_up_nobody_else() {
        let config = Config { password_memory_kib: 8, password_passes: 1, ..Config::default() };
        let (passwords, eve, ada) = (Passwords::new(&config).unwrap(), Key::of(b"eve"), Key::of(b"ada"));
        let _hashed = passwords.hashes.take(eve).await.unwrap();
        let mut next = std::pin::pin!(passwords.hashes.take(eve));
        assert!(futures::poll!(next.as_mut()).is_pending());
        assert_eq!(passwords.verify(ada, None, "correct horse").await.unwrap(), Verdict::Wrong);
        // Nor do estimates, which take longest, hold up who logs in.
        let _estimated = passwords.estimates.take(eve).await.unwrap();
        let hash = passwords.hash(ada, "correct horse", "password", &[]).await.unwrap();
        assert_eq!(passwords.verify(ada, Some(&hash), "correct horse").await.unwrap(), Verdict::Right);
    }

    #[tokio::test]
    async fn a06_of_whom_too_many_wait_is_refused_before_anything_is_looked_up() {
        let config = Config { password_memory_kib: 8, password_passes: 1, password_waits_max: 4, ..Config::default() };
        let (passwords, eve, ada) = (Passwords::new(&config).unwrap(), Key::of(b"eve"), Key::of(b"ada"));
        let _hashed = passwords.hashes.take(eve).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            passwords.refuse_early(eve).expect("there is room to wait");
            let mut one = Box::pin(passwords.hashes.take(eve));
            assert!(futures::poll!(one.as_mut()).is_pending());
            waiting.push(one);
        }
        assert_eq!(passwords.refuse_early(eve).unwrap_err().problem().code, Code::ShareExceeded);
        passwords.refuse_early(ada).expect("nobody waits there");
    }

    #[tokio::test]
    async fn f31_a_hash_of_what_was_typed_still_holds() {
        let config = Config { password_memory_kib: 8, password_passes: 1, ..Config::default() };
        let passwords = Passwords::new(&config).unwrap();
        let who = Key::of(b"ada");
        let (composed, decomposed) = ("gr\u{fc}ne Wiese", "gru\u{308}ne Wiese");
        let verify = async |stored: &str, typed: &str| passwords.verify(who, Some(stored), typed).await.unwrap();
        let new = passwords.hash(who, decomposed, "password", &[]).await.unwrap();
        for typed in [composed, decomposed, "gr\u{fc}ne\u{a0}Wiese"] {
            assert_eq!(verify(&new, typed).await, Verdict::Right, "{typed:?}");
        }
        assert_eq!(verify(&new, "grune Wiese").await, Verdict::Wrong);
        let old = passwords.hasher.hash(decomposed).unwrap();
        assert_eq!(verify(&old, decomposed).await, Verdict::RightToRenew);
        assert_eq!(verify(&old, composed).await, Verdict::Wrong);
        let anew = passwords.hash_anew(who, decomposed).await.unwrap();
        assert_eq!(verify(&anew, composed).await, Verdict::Right);
        assert_eq!(passwords.verify(who, None, decomposed).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_other_costs_is_to_be_renewed() {
        let of = |passes| Config { password_memory_kib: 8, password_passes: passes, ..Config::default() };
        let (before, now) = (Passwords::new(&of(2)).unwrap(), Passwords::new(&of(1)).unwrap());
        let who = Key::of(b"ada");
        let old = before.hash_anew(who, "correct horse").await.unwrap();
        assert_eq!(before.verify(who, Some(&old), "correct horse").await.unwrap(), Verdict::Right);
        assert_eq!(now.verify(who, Some(&old), "correct horse").await.unwrap(), Verdict::RightToRenew);
        assert_eq!(now.verify(who, Some(&old), "wrong horse").await.unwrap(), Verdict::Wrong);
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
