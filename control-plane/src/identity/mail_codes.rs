//! Codes that show that whoever signs up reads the mails of an address. Nothing is stored: a code is a keyed hash of the
//! address and of the half hour, so that every control plane knows it.

use protocol::Timestamp;
use subtle::ConstantTimeEq as _;

/// A code is good for so long at least, and for twice as long at most.
const PERIOD_MS: i64 = 30 * 60 * 1000;
/// Letters and digits that nobody mistakes for one another.
const CHARACTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Characters of a code: 40 bits, which no client guesses at the rate at which it may try.
const LENGTH: usize = 8;

/// Makes and checks codes.
pub(crate) struct MailCodes {
    key: [u8; 32],
}

impl MailCodes {
    /// With a secret that all control planes share.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    fn of(&self, email: &str, period: i64) -> String {
        let hash = blake3::keyed_hash(&self.key, format!("{period}\n{email}").as_bytes());
        hash.as_bytes().iter().take(LENGTH).map(|byte| char::from(CHARACTERS[usize::from(byte % 32)])).collect()
    }

    /// The code for this address now, in two halves.
    pub(crate) fn make(&self, email: &str, now: Timestamp) -> String {
        let mut code = self.of(email, now.0 / PERIOD_MS);
        code.insert(LENGTH / 2, '-');
        code
    }

    /// Whether this is a code for the address, however it was typed.
    pub(crate) fn holds(&self, email: &str, typed: &str, now: Timestamp) -> bool {
        let typed: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
        let (typed, period) = (typed.to_ascii_uppercase(), now.0 / PERIOD_MS);
        [period, period - 1]
            .into_iter()
            .any(|period| bool::from(self.of(email, period).as_bytes().ct_eq(typed.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a13_a_code_is_of_one_address_and_for_a_while() {
        let codes = MailCodes::new([7; 32]);
        let (ada, now) = ("ada@example.org", Timestamp(1_900_000_000_000));
        let code = codes.make(ada, now);
        let later = |periods: i64| Timestamp(now.0 + periods * PERIOD_MS);
        let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
        assert!(codes.holds(ada, &code, now) && codes.holds(ada, &typed, later(1)));
        assert!(!codes.holds(ada, &code, later(2)) && !codes.holds(ada, &code, later(-1)));
        assert!(!codes.holds("bob@example.org", &code, now));
        assert!(!MailCodes::new([8; 32]).holds(ada, &code, now));
        for wrong in ["", "-", &code[..8], &code.repeat(2)] {
            assert!(!codes.holds(ada, wrong, now), "{wrong}");
        }
    }
}
