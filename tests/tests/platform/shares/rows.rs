//! The table of shares (ARCHITECTURE.md), row by row: what the flood does with each.

use std::collections::BTreeSet;

/// What becomes of a row.
pub(super) enum Row {
    /// The flood asks until it is refused more, which is told by this text.
    Refused(&'static str),
    /// The flood asks for more than its share; whoever is over it waits, or loses what is its own.
    Taken,
    /// Not by this test, because:
    Left(&'static str),
}

use Row::{Left, Refused, Taken};

/// By the names that stand in the table.
pub(super) const ROWS: &[(&str, Row)] = &[
    ("connections, by client", Refused("this client has")),
    ("TLS handshakes, by client", Left("the platform of this test speaks plain HTTP")),
    ("runs that wait for a node", Refused("share of runs that wait for a node")),
    ("bytes of requests kept for another node", Taken),
    ("requests that use the database at once", Taken),
    ("requests that wait for their turn", Refused("share of requests at once")),
    ("requests that wait for a job or a message", Refused("share of requests that wait for something")),
    ("streams of logs", Refused("share of streams of logs")),
    ("streams of job events", Refused("share of streams of job events")),
    ("downloads of receipts", Refused("share of downloads of receipts")),
    ("deploys that are prepared at once", Taken),
    ("deploys that are not ready yet", Refused("share of deploys that are not ready yet")),
    ("job arrays that are submitted at once", Taken),
    ("webhooks that are told at once", Left("webhooks go to public addresses alone")),
    ("slots of nodes for jobs", Taken),
    ("passwords that are hashed at once, by client or user", Taken),
    ("passwords that wait to be hashed, by client or user", Refused("Too many passwords of this network or user")),
    ("runs at once", Refused("share of the node's slots")),
    ("memory of runs", Refused("share of the node's memory")),
    ("threads of guests that compute", Taken),
    ("compiles and conversions at once", Taken),
    ("connections to other hosts, by lane", Left("functions reach public addresses alone")),
    ("names looked up at once, by lane", Left("the machine's resolver says how long a look-up takes")),
    ("bytes of logs on their way", Taken),
    ("machine code in memory", Taken),
    ("compiled artifacts on disk", Taken),
    ("images on disk", Left("each is a start of a virtual machine, which takes too long here")),
];

/// The row whose refusal this answer is.
pub(super) fn refused(answer: &str) -> Option<&'static str> {
    let told = |row: &&(&'static str, Row)| matches!(row.1, Refused(text) if answer.contains(text));
    ROWS.iter().find(told).map(|(name, _)| *name)
}

/// The rows that are left out, and why.
pub(super) fn left_out() -> impl Iterator<Item = String> {
    ROWS.iter().filter_map(|(name, row)| match row {
        Left(why) => Some(format!("{name}: not flooded, since {why}")),
        Refused(_) | Taken => None,
    })
}

/// The rows of which the flood must be refused more.
pub(super) fn to_be_refused() -> BTreeSet<&'static str> {
    ROWS.iter().filter(|(_, row)| matches!(row, Refused(_))).map(|(name, _)| *name).collect()
}

#[test]
fn a06_each_row_of_the_table_is_flooded_or_says_why_not() {
    let page = include_str!("../../../../ARCHITECTURE.md");
    let services = ["gateway", "control-plane", "node"];
    let rows = services.iter().flat_map(|service| fabric::shares::documented(page, service));
    let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('|').nth(2)).map(str::trim).collect();
    let known: BTreeSet<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, documented);
    assert_eq!(ROWS.len(), known.len(), "each once");
}
