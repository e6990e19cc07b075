//! What the page is asked for: the URL says it, and the API and the lists of rows are asked the same.

use sycamore::prelude::*;

use crate::nav::encode;
use crate::session::Here;
use crate::state;
use crate::ui::period::{self, Period, Span};

/// Which runs, and of when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) period: Period,
    /// A function's name; empty for all.
    pub(super) function: String,
    /// A version's number; empty for all.
    pub(super) version: String,
    /// A lane; empty for both.
    pub(super) lane: String,
    /// On whose behalf: a key, a user, a trigger or the public, or `member:` and a user for them and their keys; empty for
    /// everybody.
    pub(super) who: String,
    /// Whether the period before is shown too.
    pub(super) compares: bool,
}

/// The values in the URL.
#[derive(Clone, Copy)]
pub(super) struct Controls {
    pub(super) period: Signal<String>,
    pub(super) function: Signal<String>,
    pub(super) version: Signal<String>,
    pub(super) lane: Signal<String>,
    pub(super) who: Signal<String>,
    pub(super) compare: Signal<String>,
}

/// Before a member, who counts with their keys.
pub(super) const MEMBER: &str = "member:";

impl Controls {
    /// Tied to the URL.
    pub(super) fn of_url() -> Self {
        Self {
            period: period::of_url(),
            function: state::param("function", ""),
            version: state::param("version", ""),
            lane: state::param("lane", ""),
            who: state::param("who", ""),
            compare: state::param("compare", ""),
        }
    }

    /// What they say together.
    pub(super) fn asked(self) -> ReadSignal<Asked> {
        create_selector(move || Asked {
            period: self.period.with(|word| Period::parse(word)),
            function: self.function.get_clone(),
            version: self.version.get_clone(),
            lane: self.lane.get_clone(),
            who: self.who.get_clone(),
            compares: self.compare.with(|word| !word.is_empty()),
        })
    }
}

/// Names and values of a query.
type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Each as `&name=value`; what is empty is left out.
fn query(pairs: Pairs<'_>) -> String {
    let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("&{name}={}", encode(value))).collect()
}

impl Asked {
    /// A version is one of a function.
    fn version(&self) -> &str {
        if self.function.is_empty() { "" } else { &self.version }
    }

    /// As `GET /usage` takes it; each part begins with `&`.
    pub(super) fn usage_query(&self) -> String {
        query(self.pairs())
    }

    fn pairs(&self) -> Pairs<'_> {
        let who = match self.who.strip_prefix(MEMBER) {
            Some(member) => ("member", member),
            None => ("principal", self.who.as_str()),
        };
        vec![("function", self.function.as_str()), ("version", self.version()), ("lane", self.lane.as_str()), who]
    }

    /// As `GET /jobs/summary` takes it: jobs have no lane before they run.
    pub(super) fn jobs_query(&self) -> String {
        query(vec![("function", self.function.as_str()), ("version", self.version())])
    }

    /// The list of these runs within a time, and of them those that `more` names; what it names replaces what the URL says.
    pub(super) fn runs(&self, here: &Here, span: Span, more: &[(&str, &str)]) -> String {
        let mut pairs = self.pairs();
        pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        pairs.extend_from_slice(more);
        here.path(&format!("runs?{}{}", span.query(), query(pairs)))
    }

    /// The list of these jobs in a state.
    pub(super) fn jobs(&self, here: &Here, state: &str, ended: Option<Span>) -> String {
        let ended = ended.map(|Span { from, to }| format!("&ended_from={from}&ended_to={to}")).unwrap_or_default();
        here.path(&format!("jobs/list?state={state}{ended}{}", self.jobs_query()))
    }

    /// The whole period before, as the charts lay it over this one.
    pub(super) fn whole_before(&self) -> Span {
        let Span { from, to } = self.period.span();
        let earlier = |at: protocol::Timestamp| protocol::Timestamp(at.0 - self.period.length_ms());
        Span { from: earlier(from), to: earlier(to) }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::api::Role;

    use super::Asked;
    use crate::session::Here;
    use crate::ui::period::Span;

    #[test]
    fn the_api_and_the_lists_are_asked_the_same() {
        let here = Here { account: "ada".to_owned(), role: Role::Owner };
        let span = Span { from: Timestamp(0), to: Timestamp(60_000) };
        let period = "from=1970-01-01T00:00:00Z&to=1970-01-01T00:01:00Z";
        let mut asked = Asked { version: "3".to_owned(), ..Asked::default() };
        assert_eq!(asked.usage_query(), "", "a version without its function says nothing");
        asked.function = "thumbs".to_owned();
        asked.who = "trigger:nightly".to_owned();
        assert_eq!(asked.usage_query(), "&function=thumbs&version=3&principal=trigger%3Anightly");
        assert_eq!(
            asked.runs(&here, span, &[("version", "4"), ("status", "2xx")]),
            format!("/a/ada/runs?{period}&function=thumbs&principal=trigger%3Anightly&version=4&status=2xx")
        );
        asked.who = "member:user_1".to_owned();
        assert_eq!(asked.usage_query(), "&function=thumbs&version=3&member=user%5F1");
        let rows = format!("/a/ada/runs?{period}&function=thumbs&version=3&member=user%5F1");
        assert_eq!(asked.runs(&here, span, &[]), rows);
        assert_eq!(
            asked.jobs(&here, "dead", Some(span)),
            "/a/ada/jobs/list?state=dead&ended_from=1970-01-01T00:00:00Z&ended_to=1970-01-01T00:01:00Z\
             &function=thumbs&version=3"
        );
    }
}
