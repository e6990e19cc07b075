//! Minutes, hours and days: which sums there are of a time, and which of them make up a period. Pure.

use protocol::Timestamp;

pub(super) const DAY_MS: i64 = 86_400_000;

/// What sums are kept of, the finest first. All in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Span {
    Minute,
    Hour,
    Day,
}

impl Span {
    pub(crate) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Its length, which is how the database names it.
    pub(crate) const fn seconds(self) -> i32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    fn ms(self) -> i64 {
        i64::from(self.seconds()) * 1_000
    }

    /// When the one began to which this time belongs.
    pub(crate) fn floor(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 - at.0.rem_euclid(self.ms()))
    }

    /// This time, where one begins then; else when the next one begins.
    fn ceil(self, at: Timestamp) -> Timestamp {
        let floor = self.floor(at);
        if floor == at { at } else { Timestamp(floor.0 + self.ms()) }
    }

    /// From when on there are such sums: so many days and today. The beginning of a day, so that a period is made up of
    /// days and what is over at its ends.
    pub(crate) fn kept_since(self, now: Timestamp) -> Timestamp {
        let days = match self {
            Self::Minute => 3,
            Self::Hour => 90,
            Self::Day => return Timestamp(0),
        };
        Self::Day.floor(Timestamp(now.0 - days * DAY_MS))
    }

    /// The finest, from this one on, of which there are sums of this time.
    fn finest(self, at: Timestamp, now: Timestamp) -> Self {
        Self::ALL.into_iter().find(|span| *span >= self && span.kept_since(now) <= at).unwrap_or(Self::Day)
    }
}

/// From a time to another one, which does not belong to it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Period {
    /// From 1970 until today has ended.
    pub(crate) fn all(now: Timestamp) -> Self {
        Self { from: Timestamp(0), to: Span::Day.ceil(Timestamp(now.0 + 1)) }
    }

    /// What can be told of this period in sums of this length or longer ones: it begins earlier and ends later where only
    /// whole hours or days are left. What has not ended yet ends with the day.
    pub(crate) fn rounded(self, least: Span, now: Timestamp) -> Self {
        let (all, from) = (Self::all(now), self.from.max(Timestamp(0)));
        let from = least.finest(from, now).floor(from).min(all.to);
        let to = if self.to >= now { all.to } else { least.finest(self.to, now).ceil(self.to) };
        Self { from, to: to.max(from) }
    }

    /// The same, as far as there are sums of this length of it: it begins later where the older ones are gone.
    pub(crate) fn kept(self, span: Span, now: Timestamp) -> Self {
        let from = span.ceil(self.from).max(span.kept_since(now));
        Self { from, to: self.to.max(from) }
    }

    /// It in pieces of sums of these lengths, the longest first: days, and shorter ones at its ends.
    pub(crate) fn pieces(self, spans: &[Span]) -> Vec<(Span, Self)> {
        let Some((span, shorter)) = spans.split_first() else { return Vec::new() };
        let whole = Self { from: span.ceil(self.from), to: span.floor(self.to) };
        if whole.from >= whole.to {
            return self.pieces(shorter);
        }
        let mut pieces = Self { to: whole.from, ..self }.pieces(shorter);
        pieces.push((*span, whole));
        pieces.extend(Self { from: whole.to, ..self }.pieces(shorter));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn period(from: &str, to: &str) -> Period {
        Period { from: at(from), to: at(to) }
    }

    const LONGEST_FIRST: [Span; 3] = [Span::Day, Span::Hour, Span::Minute];

    #[test]
    fn a_period_is_rounded_to_what_is_kept() {
        let now = at("2026-11-30T12:34:56Z");
        for (asked, least, wanted) in [
            // Minutes are there from the beginning of the third day before today on.
            (
                period("2026-11-27T10:11:12Z", "2026-11-28T10:11:12Z"),
                Span::Minute,
                period("2026-11-27T10:11:00Z", "2026-11-28T10:12:00Z"),
            ),
            (
                period("2026-11-26T10:11:12Z", "2026-11-28T10:11:12Z"),
                Span::Minute,
                period("2026-11-26T10:00:00Z", "2026-11-28T10:12:00Z"),
            ),
            (
                period("2026-01-01T10:11:12Z", "2026-01-03T00:00:00Z"),
                Span::Minute,
                period("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"),
            ),
            (
                period("2026-11-29T10:11:12Z", "2026-11-29T20:00:00Z"),
                Span::Day,
                period("2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"),
            ),
            // What goes on ends with the day.
            (
                period("2026-11-30T12:00:00Z", "2030-01-01T00:00:00Z"),
                Span::Hour,
                period("2026-11-30T12:00:00Z", "2026-12-01T00:00:00Z"),
            ),
        ] {
            assert_eq!(asked.rounded(least, now), wanted, "{asked:?}");
        }
        let old = period("2026-01-01T00:00:00Z", "2026-12-01T00:00:00Z");
        assert_eq!(old.kept(Span::Hour, now).from, at("2026-09-01T00:00:00Z"));
        let gone = period("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z").kept(Span::Hour, now);
        assert_eq!((gone.from, gone.pieces(&[Span::Hour])), (gone.to, Vec::new()));
    }

    #[test]
    fn the_pieces_of_a_period_are_all_of_it() {
        let now = at("2026-11-30T12:34:56Z");
        for hours in 0..200 {
            for minutes in [0, 1, 59, 60, 61, 1_439, 1_440, 1_441, 10_000, 200_000] {
                let to = Timestamp(now.0 - hours * 3_600_000 * 7);
                let period = Period { from: Timestamp(to.0 - minutes * 60_000), to }.rounded(Span::Minute, now);
                let pieces = period.pieces(&LONGEST_FIRST);
                let mut next = period.from;
                for (span, piece) in &pieces {
                    assert_eq!(piece.from, next, "{period:?}: {pieces:?}");
                    assert!(piece.from < piece.to && span.kept_since(now) <= piece.from, "{period:?}: {pieces:?}");
                    assert_eq!((span.floor(piece.from), span.floor(piece.to)), (piece.from, piece.to));
                    next = piece.to;
                }
                assert_eq!(next, period.to, "{period:?}: {pieces:?}");
                assert!(pieces.len() <= 5);
            }
        }
    }
}
