//! Which jobs are listed: the URL says it.

use protocol::job::{Job, JobSort, JobState};
use protocol::{JobId, Timestamp};
use sycamore::prelude::*;
use sycamore_router::use_search_query;

use crate::nav::encode;

/// Those that have not ended.
pub(crate) const OPEN: &[JobState] = &[JobState::Queued, JobState::Placed, JobState::Running];
/// Those that have.
pub(crate) const ENDED: &[JobState] =
    &[JobState::Succeeded, JobState::Failed, JobState::TimedOut, JobState::Cancelled, JobState::Dead];
/// Those that count for the failure rate.
pub(crate) const WENT_WRONG: &[JobState] = &[JobState::Failed, JobState::TimedOut, JobState::Dead];

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Only in one of these states; in any where none is named.
    pub(crate) states: Vec<JobState>,
    /// Only of this function.
    pub(crate) function: Option<String>,
    /// Only of versions with this number.
    pub(crate) version: Option<u32>,
    /// Only with this label, `NAME=VALUE`.
    pub(crate) label: Option<String>,
    /// Only of this array.
    pub(crate) array: Option<JobId>,
    /// Only those that ended at this time or later.
    pub(crate) ended_from: Option<Timestamp>,
    /// Only those that ended before this time.
    pub(crate) ended_to: Option<Timestamp>,
    /// In this order.
    pub(crate) sort: JobSort,
    /// The page, as the one before it named it.
    pub(crate) cursor: Option<String>,
}

impl Filter {
    /// As the URL says.
    pub(crate) fn of_url() -> ReadSignal<Self> {
        let value = |name| {
            let value = use_search_query(name);
            move || value.get_clone().filter(|value| !value.is_empty())
        };
        let (state, function, version) = (value("state"), value("function"), value("version"));
        let (label, array, cursor) = (value("label"), value("array"), value("cursor"));
        let (ended_from, ended_to, sort) = (value("ended_from"), value("ended_to"), value("sort"));
        create_selector(move || Self {
            states: state().map(|words| states(&words)).unwrap_or_default(),
            function: function(),
            version: version().and_then(|version| version.parse().ok()),
            label: label(),
            array: array().and_then(|array| array.parse().ok()),
            ended_from: ended_from().and_then(|at| at.parse().ok()),
            ended_to: ended_to().and_then(|at| at.parse().ok()),
            sort: sort().and_then(|sort| sort.parse().ok()).unwrap_or_default(),
            cursor: cursor(),
        })
    }

    /// Those in one of these states.
    pub(crate) fn of_states(states: &[JobState]) -> Self {
        Self { states: states.to_vec(), ..Self::default() }
    }

    /// Whether anything is left out; the page does not count, nor does an order of all jobs.
    pub(crate) fn is_some(&self) -> bool {
        self.sort.by_end() || Self { cursor: None, sort: JobSort::default(), ..self.clone() } != Self::default()
    }

    /// As the API and the URL write it: each part begins with `&`.
    pub(crate) fn query(&self) -> String {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let parts = [
            ("state", Some(state_list(&self.states)).filter(|list| !list.is_empty())),
            ("function", self.function.clone()),
            ("version", self.version.map(|version| version.to_string())),
            ("label", self.label.clone()),
            ("array", self.array.map(|array| array.to_string())),
            ("ended_from", time(self.ended_from)),
            ("ended_to", time(self.ended_to)),
            ("sort", (self.sort != JobSort::default()).then(|| self.sort.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        parts.map(|(name, value)| format!("&{name}={}", encode(&value))).collect()
    }

    /// The place that lists these, where `list` is the path of the list.
    pub(crate) fn href(&self, list: &str) -> String {
        match self.query().strip_prefix('&') {
            Some(query) => format!("{list}?{query}"),
            None => list.to_owned(),
        }
    }

    /// Whether a job is one of these, be it on this page or another.
    pub(crate) fn holds(&self, job: &Job) -> bool {
        let label = |asked: &String| {
            asked.split_once('=').is_some_and(|(name, value)| job.labels.get(name).is_some_and(|held| held == value))
        };
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.function.as_ref().is_none_or(|name| name == job.function.as_str())
            && self.version.is_none_or(|version| version == job.version)
            && self.label.as_ref().is_none_or(label)
            && self.array.is_none_or(|array| job.array == Some(array))
            && self.ended_from.is_none_or(|from| job.ended.is_some_and(|at| at >= from))
            && self.ended_to.is_none_or(|to| job.ended.is_some_and(|at| at < to))
            && (!self.sort.by_end() || job.ended.is_some())
    }
}

/// States with commas in between, as the API writes them.
pub(crate) fn state_list(states: &[JobState]) -> String {
    states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",")
}

/// The states of such a list; what is none is passed over.
fn states(list: &str) -> Vec<JobState> {
    let mut states: Vec<JobState> = list.split(',').filter_map(|word| word.parse().ok()).collect();
    states.sort_unstable();
    states.dedup();
    states
}

#[cfg(test)]
mod tests {
    use super::{ENDED, Filter, OPEN, WENT_WRONG, states};
    use crate::pages::jobs::sample;
    use protocol::Timestamp;
    use protocol::job::{Job, JobSort, JobState};

    #[test]
    fn a_filter_is_a_query() {
        assert_eq!(Filter::default().query(), "");
        let filter = Filter {
            states: vec![JobState::TimedOut, JobState::Dead],
            label: Some("kind=a b".to_owned()),
            ended_from: Some(Timestamp(0)),
            cursor: Some("x".to_owned()),
            ..Filter::default()
        };
        let query = filter.query();
        assert!(query.starts_with("&state=timed%5Fout%2Cdead&label=kind%3Da%20b&ended_from=1970"), "{query}");
        assert!(query.ends_with("&cursor=x"), "{query}");
        assert_eq!(Filter::of_states(&[JobState::Dead]).href("/a/ada/jobs/list"), "/a/ada/jobs/list?state=dead");
        assert!(filter.is_some());
        assert!(!Filter { cursor: Some("x".to_owned()), ..Filter::default() }.is_some());
        let by_end = Filter { sort: JobSort::LastEndedFirst, ..Filter::default() };
        assert_eq!(by_end.query(), "&sort=%2Dended");
        assert!(by_end.is_some(), "open ones are left out");
        assert!(!Filter { sort: JobSort::OldestFirst, ..Filter::default() }.is_some());
    }

    #[test]
    fn states_are_a_set() {
        assert_eq!(states("dead,lost,queued,dead"), [JobState::Queued, JobState::Dead]);
        assert!(states("").is_empty());
        for state in JobState::ALL {
            assert_eq!((OPEN.contains(&state), ENDED.contains(&state)), (!state.ended(), state.ended()));
        }
        assert!(WENT_WRONG.iter().all(|state| ENDED.contains(state)));
    }

    #[test]
    fn a_filter_holds_what_it_asks_for() {
        let mut job = sample::job(1);
        job.labels.insert("kind".to_owned(), "test".to_owned());
        let with = |label: &str| Filter { label: Some(label.to_owned()), ..Filter::default() };
        assert!(with("kind=test").holds(&job) && !with("kind=tes").holds(&job) && !with("kind").holds(&job));
        let of = |name: &str| Filter { function: Some(name.to_owned()), ..Filter::default() };
        assert!(of("thumbs").holds(&job) && !of("thumb").holds(&job));
        assert!(Filter::of_states(OPEN).holds(&job) && !Filter::of_states(ENDED).holds(&job));
        assert!(!Filter { array: Some(job.id), ..Filter::default() }.holds(&job));
        assert!(!Filter { version: Some(2), ..Filter::default() }.holds(&job));
        let ended = Job { ended: Some(Timestamp(5)), ..job.clone() };
        let between =
            |from, to| Filter { ended_from: Some(Timestamp(from)), ended_to: Some(Timestamp(to)), ..Filter::default() };
        assert!(between(5, 6).holds(&ended) && !between(4, 5).holds(&ended) && !between(5, 6).holds(&job));
    }
}
