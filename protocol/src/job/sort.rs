//! The order of a list of jobs.

use std::cmp::Ordering;

use super::Job;

/// By what a list of jobs is sorted; a `-` before the word turns the order round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JobSort {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
    /// Those that have ended, the last of them first.
    LastEndedFirst,
    /// Those that have ended, the first of them first.
    FirstEndedFirst,
}

impl JobSort {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NewestFirst, Self::OldestFirst, Self::LastEndedFirst, Self::FirstEndedFirst];

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewestFirst => "-submitted",
            Self::OldestFirst => "submitted",
            Self::LastEndedFirst => "-ended",
            Self::FirstEndedFirst => "ended",
        }
    }

    /// Whether it is by the end: the list has only jobs that have ended.
    #[must_use]
    pub const fn by_end(self) -> bool {
        matches!(self, Self::LastEndedFirst | Self::FirstEndedFirst)
    }

    /// Whether what is latest comes first.
    #[must_use]
    pub const fn descending(self) -> bool {
        matches!(self, Self::NewestFirst | Self::LastEndedFirst)
    }

    /// Which of two jobs comes first. No two jobs are equal: ids of jobs are in the order of their submission.
    #[must_use]
    pub fn order(self, one: &Job, other: &Job) -> Ordering {
        let key = |job: &Job| (job.ended.filter(|_| self.by_end()), job.id);
        let ascending = key(one).cmp(&key(other));
        if self.descending() { ascending.reverse() } else { ascending }
    }
}

impl std::fmt::Display for JobSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for JobSort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("jobs cannot be sorted by {text:?}; allowed: {}", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::JobSort;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for sort in JobSort::ALL {
            assert_eq!(sort.to_string().parse(), Ok(sort));
            assert_eq!(sort.descending(), sort.as_str().starts_with('-'));
            assert_eq!(sort.by_end(), sort.as_str().ends_with("ended"));
        }
        assert_eq!(JobSort::default().as_str(), "-submitted");
        let refused = "name".parse::<JobSort>().unwrap_err();
        assert!(refused.ends_with("allowed: -submitted, submitted, -ended, ended"), "{refused}");
    }
}
