//! The period that figures are about: 1 h, 24 h, 7 d or 30 d, in the URL as `period`.

use protocol::Timestamp;
use sycamore::prelude::*;

use super::time::now_ms;
use crate::state;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A period that ends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Period {
    Hour,
    #[default]
    Day,
    Week,
    Month,
}

/// A stretch of time; the end does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Span {
    /// As the API's queries write it: `from=..&to=..`.
    pub(crate) fn query(self) -> String {
        format!("from={}&to={}", self.from, self.to)
    }
}

impl Period {
    /// All of them, shortest first.
    pub(crate) const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The word in the URL.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// As people read it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Hour => "1 h",
            Self::Day => "24 h",
            Self::Week => "7 d",
            Self::Month => "30 d",
        }
    }

    /// Within a sentence: "in the last hour".
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Hour => "the last hour",
            Self::Day => "the last 24 hours",
            Self::Week => "the last 7 days",
            Self::Month => "the last 30 days",
        }
    }

    /// By word; the default where it is none of them.
    pub(crate) fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|period| period.word() == word).unwrap_or_default()
    }

    /// How long it is.
    pub(crate) const fn length_ms(self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            Self::Month => 30 * DAY_MS,
        }
    }

    /// How long one column of a chart over it is, in milliseconds.
    pub(crate) const fn column_ms(self) -> i64 {
        match self {
            Self::Hour => MINUTE_MS,
            Self::Day => HOUR_MS,
            Self::Week => 6 * HOUR_MS,
            Self::Month => DAY_MS,
        }
    }

    /// What usage is asked by, to draw it: groups no longer than a column.
    pub(crate) const fn by(self) -> &'static str {
        match self {
            Self::Hour => "minute",
            Self::Day | Self::Week => "hour",
            Self::Month => "day",
        }
    }

    /// How often figures over it are asked for, in milliseconds.
    pub(crate) const fn refresh_ms(self) -> i32 {
        match self {
            Self::Hour => 5_000,
            Self::Day => 15_000,
            Self::Week | Self::Month => 60_000,
        }
    }

    /// Whole columns up to the one that runs: it ends where that one ends, which lies ahead.
    pub(crate) const fn span_at(self, now_ms: i64) -> Span {
        let column = self.column_ms();
        let to = now_ms.div_euclid(column) * column + column;
        Span { from: Timestamp(to - self.length_ms()), to: Timestamp(to) }
    }

    /// The same as of the browser's clock.
    pub(crate) fn span(self) -> Span {
        self.span_at(now_ms())
    }

    /// What to compare with: as much of the period before as has passed of this one.
    pub(crate) const fn before_at(self, now_ms: i64) -> Span {
        let this = self.span_at(now_ms);
        // The API counts by minutes.
        let now = now_ms.div_euclid(MINUTE_MS) * MINUTE_MS + MINUTE_MS;
        Span { from: Timestamp(this.from.0 - self.length_ms()), to: Timestamp(now - self.length_ms()) }
    }

    /// The same as of the browser's clock.
    pub(crate) fn before(self) -> Span {
        self.before_at(now_ms())
    }
}

/// The period of this page's URL; setting it changes the URL.
pub(crate) fn of_url() -> Signal<String> {
    state::param("period", Period::Day.word())
}

/// The choice, for a page's head.
pub(crate) fn period_choice(word: Signal<String>) -> View {
    let buttons: Vec<View> = Period::ALL
        .into_iter()
        .map(|period| {
            let pressed = move || word.with(|word| Period::parse(word) == period).to_string();
            view! {
                button(
                    r#type="button", aria-pressed=pressed(), title=period.words(),
                    on:click=move |_| word.set(period.word().to_owned()),
                ) { (period.label()) }
            }
        })
        .collect();
    view! { div(class="segmented", role="group", aria-label="Period") { (buttons) } }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, HOUR_MS, MINUTE_MS, Period};

    #[test]
    fn a_period_is_whole_columns_and_holds_now() {
        let now = 1_796_071_234_567;
        for period in Period::ALL {
            let span = period.span_at(now);
            assert_eq!(span.to.0 - span.from.0, period.length_ms());
            assert!(span.from.0 % period.column_ms() == 0 && span.from.0 <= now && now < span.to.0);
            assert_eq!(Period::parse(period.word()), period);
        }
        assert_eq!(Period::parse("a year"), Period::Day);
    }

    #[test]
    fn it_is_compared_with_as_much_of_the_one_before() {
        let now = 10 * DAY_MS + 7 * HOUR_MS + 30 * MINUTE_MS;
        let before = Period::Day.before_at(now);
        assert_eq!(before.from.0, 8 * DAY_MS + 8 * HOUR_MS);
        assert_eq!(before.to.0, now + MINUTE_MS - DAY_MS);
    }
}
