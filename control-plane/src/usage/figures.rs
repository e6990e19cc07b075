//! The summed figures: what a settled run adds to each, and how they stand in a row and in a report.

use books::Totals;
use protocol::api::UsageSums;
use protocol::placement::Warmth;
use protocol::{AccountId, ByteSize, Timestamp, Total};

use super::sketch::Sketch;
use crate::db::columns::Col;
use crate::db::entities::{runs, usage_sums};

/// Makes what all figures have in common of one list of their names, which are also the table's columns.
macro_rules! all {
    ($($name:ident)*) => {
        /// How many figures there are.
        pub(crate) const FIGURES: usize = [$(stringify!($name)),*].len();

        /// Their names, in the order of all arrays of figures.
        pub(crate) const NAMES: [&str; FIGURES] = [$(stringify!($name)),*];

        /// What a settled row adds to its minute.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Share { $(pub $name: Total,)* }

        impl Share {
            /// The figures, in the order of their names.
            pub(crate) fn figures(&self) -> [Total; FIGURES] {
                [$(self.$name),*]
            }
        }

        /// A row of no runs, of which nothing is known yet.
        pub(crate) fn empty(account_id: Col<AccountId>, span: i32, began: Col<Timestamp>) -> usage_sums::Model {
            usage_sums::Model {
                account_id,
                span,
                began,
                id: Vec::new(),
                function_id: None,
                version_number: None,
                lane: None,
                source: None,
                principal: None,
                status: None,
                folded: false,
                $($name: 0,)*
                latency: String::new(),
            }
        }

        /// A row's figures.
        pub(crate) fn read(row: &usage_sums::Model) -> [i64; FIGURES] {
            [$(row.$name),*]
        }

        /// Puts them into a row.
        pub(crate) fn put(row: &mut usage_sums::Model, figures: [i64; FIGURES]) {
            [$(row.$name),*] = figures;
        }

        impl Figures {
            /// As the API shows them.
            pub(crate) fn view(&self) -> UsageSums {
                let [$($name),*] = self.sums;
                UsageSums { $($name: Shown::shown($name),)* latency: self.latency.quantiles() }
            }
        }
    };
}

/// The figures that receipts have too, and between them how warm nodes were, which no receipt says.
macro_rules! figures {
    ($($(#[$of_end:meta])* $ended:ident,)* ; $($(#[$of_use:meta])* $used:ident,)*) => {
        all! { $($ended)* warm cached cold $($used)* }

        impl Share {
            /// As much as a run adds to the sums of receipts.
            fn of_totals(totals: &Totals) -> Self {
                Self { $($ended: totals.$ended.into(),)* $($used: totals.$used.into(),)* ..Self::default() }
            }
        }
    };
}

books::totals!(figures);

/// A sum as the API has it.
trait Shown {
    fn shown(sum: u64) -> Self;
}

impl Shown for u64 {
    fn shown(sum: u64) -> Self {
        sum
    }
}

impl Shown for ByteSize {
    fn shown(sum: u64) -> Self {
        Self(sum)
    }
}

impl Share {
    /// A row's share; nothing before it is settled.
    pub(crate) fn of(row: &runs::Model) -> Self {
        if !row.settled {
            return Self::default();
        }
        let warmth = row.warm.map(|warm| Warmth::of(warm, row.cached.unwrap_or(false)));
        let had = |wanted| Total(i64::from(warmth == Some(wanted)));
        let limits = row.limits.map(|limits| limits.0);
        let totals = Totals::of_billed(*row.outcome, row.flag.is_some(), &row.billed.0, limits.as_ref());
        Self {
            warm: had(Warmth::Warm),
            cached: had(Warmth::Cached),
            cold: had(Warmth::Cold),
            ..Self::of_totals(&totals)
        }
    }
}

/// Sums of sums, which stop at their end.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// In the order of the names.
    pub(crate) sums: [u64; FIGURES],
    /// How long the runs took.
    pub(crate) latency: Sketch,
}

impl Default for Figures {
    fn default() -> Self {
        Self { sums: [0; FIGURES], latency: Sketch::default() }
    }
}

impl Figures {
    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.latency.add(&other.latency);
    }

    /// How many runs they are of.
    pub(super) const fn runs(&self) -> u64 {
        // The first of the names.
        self.sums[0]
    }
}
