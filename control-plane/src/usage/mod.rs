//! What an account's runs used: sums over minutes, hours and days, kept beside the runs and for longer than they are.
//!
//! ```text
//! settlement --rows as they were and are--> Sums --same transaction--> usage_sums --> report --> JSON, CSV
//!                                            |                            |
//!                   minute, hour and day of each run            minutes go after 3 days,
//!                   by function, version, lane, source,         hours after 90,
//!                   principal and class of status               days never
//! ```
//! Every figure of usage that the API shows comes from the query of [`report()`]. A run counts in the minute in which its gateway read
//! its head; where its row is corrected later, what it added before is subtracted. Of each account and period so many
//! combinations are kept ([`sums::KEYS_MAX`]), further ones are one of each function.

mod csv;
mod dimensions;
mod every;
mod figures;
mod names;
mod now;
mod period;
mod report;
mod selection;
mod sketch;
mod sums;

pub(crate) use csv::to_csv;
pub(crate) use now::now;
pub(crate) use report::{UsageQuery, moment, of_function, report, wants_csv};
pub(crate) use sums::{Recent, Sums, Table, prune};

#[cfg(test)]
pub(crate) use figures::Share;
#[cfg(test)]
pub(crate) use sums::KEYS_MAX;
