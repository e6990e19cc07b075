//! What may be found in a block, so that a search passes over blocks without reading them. Pure.

use std::collections::BTreeSet;

use books::Run;
use protocol::receipt::Outcome;
use protocol::{Code, FunctionId, Lane, RunPrincipal, RunSource};
use serde::{Deserialize, Serialize};

use crate::settlement::filter::{Ended, Wanted};

/// Values of one kind that are listed; a block that has more may have any.
const VALUES_MAX: usize = 32;

/// The values that a block's runs have. None: there are too many to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    functions: Option<Vec<FunctionId>>,
    versions: Option<Vec<u32>>,
    outcomes: Vec<Outcome>,
    codes: Option<Vec<Code>>,
    statuses: Option<Vec<u16>>,
    lanes: Vec<Lane>,
    sources: Vec<RunSource>,
    principals: Option<Vec<RunPrincipal>>,
    flagged: bool,
    unflagged: bool,
}

/// Each value once.
fn all<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// Each value once, where they are few.
fn few<T: Ord>(values: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let mut few = BTreeSet::new();
    for value in values {
        few.insert(value);
        if few.len() > VALUES_MAX {
            return None;
        }
    }
    Some(few.into_iter().collect())
}

impl Summary {
    /// Of these runs.
    pub(super) fn of(runs: &[Run]) -> Self {
        let codes = all(runs.iter().filter_map(|run| run.code));
        Self {
            functions: few(runs.iter().map(|run| run.function)),
            versions: few(runs.iter().map(|run| run.version_number)),
            outcomes: all(runs.iter().map(|run| run.outcome)),
            codes: Some(codes).filter(|codes| codes.len() <= VALUES_MAX),
            statuses: few(runs.iter().map(|run| run.status)),
            lanes: all(runs.iter().map(|run| run.lane)),
            sources: all(runs.iter().filter_map(|run| run.source)),
            principals: few(runs.iter().filter_map(|run| run.principal.clone())),
            flagged: runs.iter().any(|run| run.flag.is_some()),
            unflagged: runs.iter().any(|run| run.flag.is_none()),
        }
    }

    /// As a column has it.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether a block with this summary may have a run that fits. One that cannot be read, because a later release has
    /// written it, may have any.
    pub(super) fn may_have(text: &str, wanted: &Wanted) -> bool {
        serde_json::from_str::<Self>(text).map_or(true, |summary| summary.may_fit(wanted))
    }

    fn may_fit(&self, wanted: &Wanted) -> bool {
        let ended = |ended: &Ended| match ended {
            Ended::Outcome(outcome) => self.outcomes.contains(outcome),
            Ended::Code(code) => has(&self.codes, |one| one == code),
        };
        wanted.function.is_none_or(|function| has(&self.functions, |one| *one == function))
            && wanted.version.is_none_or(|version| has(&self.versions, |one| *one == version))
            && wanted.ended.as_ref().is_none_or(|all| all.iter().any(ended))
            && wanted.status.is_none_or(|status| has(&self.statuses, |one| status.contains(*one)))
            && wanted.lane.is_none_or(|lane| self.lanes.contains(&lane))
            && wanted.sources.as_ref().is_none_or(|all| all.iter().any(|source| self.sources.contains(source)))
            && wanted.principals.as_ref().is_none_or(|all| has(&self.principals, |one| all.contains(one)))
            && wanted.flagged.is_none_or(|flagged| if flagged { self.flagged } else { self.unflagged })
    }
}

fn has<T>(values: &Option<Vec<T>>, is: impl Fn(&T) -> bool) -> bool {
    values.as_ref().is_none_or(|values| values.iter().any(is))
}
