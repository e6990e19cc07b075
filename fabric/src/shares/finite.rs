//! A line of the table of everything that is finite: what a service has, and what one tenant may have of it. Services make
//! their [`Shares`] from these lines, and the documentation is checked against them.

use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use protocol::ByteSize;

use super::Shares;

/// What one tenant may hold, in percent of what all others leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantShare(u8);

impl TenantShare {
    /// Three quarters: one alone has nearly all, and a quarter stays for whoever comes.
    pub const DEFAULT: Self = Self(75);
    /// Everything: for what is not shared.
    pub const WHOLE: Self = Self(100);

    /// Whether whoever holds `own` of so much may have so much more, where others hold `others`. Whoever holds nothing
    /// may, as long as there is enough.
    #[must_use]
    pub fn allows(self, total: u64, others: u64, own: u64, more: u64) -> bool {
        let left_by_others = u128::from(total.saturating_sub(others));
        let wanted = u128::from(own) + u128::from(more);
        wanted <= left_by_others && (own == 0 || wanted * 100 <= left_by_others * u128::from(self.0))
    }

    /// What one tenant alone may hold of so much: at least one, where there is one.
    #[must_use]
    pub fn alone(self, total: u64) -> u64 {
        let part = u128::from(total) * u128::from(self.0) / 100;
        u64::try_from(part).unwrap_or(total).max(1).min(total)
    }
}

impl Default for TenantShare {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for TenantShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share: 1% to 100%")]
pub struct NotAShare(String);

impl FromStr for TenantShare {
    type Err = NotAShare;

    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let percent = text.trim().trim_end_matches('%').parse().ok().filter(|percent| (1..=100).contains(percent));
        percent.map(Self).ok_or_else(|| NotAShare(text.to_owned()))
    }
}

/// The lines of a service in the documentation's table: what a test compares with the lines that the service has.
#[must_use]
pub fn documented<'a>(page: &'a str, service: &str) -> Vec<&'a str> {
    let start = format!("| {service} | ");
    page.lines().filter(|line| line.starts_with(&start)).collect()
}

/// How a total is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of them.
    Count,
    /// Bytes.
    Bytes,
    /// A number of them, of which each has so many at most, however few others have.
    Each(u64),
    /// One for each core of this machine.
    Cores,
    /// As much as machines lend: no number that could stand in a document.
    Lent,
}

/// One finite thing of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finite {
    /// Whose: `gateway`, `control-plane`, `node`.
    pub service: &'static str,
    /// What, as it is called in the message to whoever is over its share.
    pub what: &'static str,
    /// The option that sets the total.
    pub option: &'static str,
    /// How much there is.
    pub total: u64,
    /// In what.
    pub unit: Unit,
    /// What one tenant may hold.
    pub share: TenantShare,
    /// What the tenant over its share gets.
    pub over: &'static str,
}

impl Finite {
    /// What shares it, where nobody waits.
    #[must_use]
    pub fn shares<K: Eq + Hash + Clone>(&self) -> Shares<K> {
        Shares::new(self.total, self.share)
    }

    /// What shares it, where up to so many wait.
    #[must_use]
    pub fn shares_with_lines<K: Eq + Hash + Clone>(&self, waiting_max: u64) -> Shares<K> {
        Shares::with_lines(self.total, self.share, waiting_max)
    }

    /// Its line in the documentation.
    #[must_use]
    pub fn row(&self) -> String {
        let Self { service, what, option, over, .. } = self;
        let alone = self.share.alone(self.total);
        let (total, alone) = match self.unit {
            Unit::Count => (self.total.to_string(), alone.to_string()),
            Unit::Each(alone) => (self.total.to_string(), alone.to_string()),
            Unit::Bytes => (ByteSize(self.total).to_string(), ByteSize(alone).to_string()),
            Unit::Cores => ("as cores".to_owned(), self.share.to_string()),
            Unit::Lent => ("as lent".to_owned(), self.share.to_string()),
        };
        format!("| {service} | {what} | {total} (`{option}`) | {alone} | {over} |")
    }
}
