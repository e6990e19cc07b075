//! Which jobs are listed: the URL says it.

use protocol::JobId;
use protocol::job::{Job, JobState};
use sycamore::prelude::*;
use sycamore_router::use_search_query;

use crate::nav::{self, encode};

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Only in this state.
    pub(crate) state: Option<JobState>,
    /// Only of this function.
    pub(crate) function: Option<String>,
    /// Only with this label, `NAME=VALUE`.
    pub(crate) label: Option<String>,
    /// Only of this array.
    pub(crate) array: Option<JobId>,
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
        let (state, function, label) = (value("state"), value("function"), value("label"));
        let (array, cursor) = (value("array"), value("cursor"));
        create_selector(move || Self {
            state: state().and_then(|state| state.parse().ok()),
            function: function(),
            label: label(),
            array: array().and_then(|array| array.parse().ok()),
            cursor: cursor(),
        })
    }

    /// Whether anything is left out; the page does not count.
    pub(crate) fn is_some(&self) -> bool {
        Self { cursor: None, ..self.clone() } != Self::default()
    }

    /// As the API and the URL write it: each part begins with `&`.
    pub(crate) fn query(&self) -> String {
        let parts = [
            ("state", self.state.map(|state| state.to_string())),
            ("function", self.function.clone()),
            ("label", self.label.clone()),
            ("array", self.array.map(|array| array.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        parts.map(|(name, value)| format!("&{name}={}", encode(&value))).collect()
    }

    /// The place that lists these.
    pub(crate) fn href(&self) -> String {
        match self.query().strip_prefix('&') {
            Some(query) => format!("{}?{query}", nav::pathname()),
            None => nav::pathname(),
        }
    }

    /// Whether a job is one of these, be it on this page or another.
    pub(crate) fn holds(&self, job: &Job) -> bool {
        let label = |asked: &String| {
            asked.split_once('=').is_some_and(|(name, value)| job.labels.get(name).is_some_and(|held| held == value))
        };
        self.state.is_none_or(|state| state == job.state)
            && self.function.as_ref().is_none_or(|name| name == job.function.as_str())
            && self.label.as_ref().is_none_or(label)
            && self.array.is_none_or(|array| job.array == Some(array))
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use crate::pages::jobs::sample;
    use protocol::job::JobState;

    #[test]
    fn a_filter_is_a_query() {
        assert_eq!(Filter::default().query(), "");
        let filter = Filter {
            state: Some(JobState::TimedOut),
            label: Some("kind=a b".to_owned()),
            cursor: Some("x".to_owned()),
            ..Filter::default()
        };
        assert_eq!(filter.query(), "&state=timed%5Fout&label=kind%3Da%20b&cursor=x");
        assert!(filter.is_some());
        assert!(!Filter { cursor: Some("x".to_owned()), ..Filter::default() }.is_some());
    }

    #[test]
    fn a_filter_holds_what_it_asks_for() {
        let mut job = sample::job(1);
        job.labels.insert("kind".to_owned(), "test".to_owned());
        let with = |label: &str| Filter { label: Some(label.to_owned()), ..Filter::default() };
        assert!(with("kind=test").holds(&job) && !with("kind=tes").holds(&job) && !with("kind").holds(&job));
        let of = |name: &str| Filter { function: Some(name.to_owned()), ..Filter::default() };
        assert!(of("thumbs").holds(&job) && !of("thumb").holds(&job));
        assert!(!Filter { state: Some(JobState::Dead), ..Filter::default() }.holds(&job));
        assert!(!Filter { array: Some(job.id), ..Filter::default() }.holds(&job));
    }
}
