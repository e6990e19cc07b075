//! What runs are told apart by in the sums. Pure.

use protocol::{FunctionId, Lane, RunPrincipal, RunSource};

use crate::db::columns::Col;
use crate::db::entities::{runs, usage_sums};

/// One combination. What is none is not known or, where it is `folded`, differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Dimensions {
    function: Option<FunctionId>,
    version_number: Option<i32>,
    lane: Option<Lane>,
    source: Option<RunSource>,
    principal: Option<RunPrincipal>,
    /// The first digit of the response's status; 0 where there was no response.
    status: Option<i32>,
    folded: bool,
}

/// The digest of a combination, by which its row is found.
pub(super) type DimensionsId = [u8; ID_LENGTH];

const ID_LENGTH: usize = 16;

impl Dimensions {
    /// Of a run.
    pub(super) fn of(row: &runs::Model) -> Self {
        Self {
            function: Some(row.function_id.0),
            version_number: Some(row.version_number),
            lane: Some(row.lane.0),
            source: row.source.map(|source| source.0),
            principal: row.principal.as_ref().map(|principal| principal.0.clone()),
            status: Some(row.status / 100),
            folded: false,
        }
    }

    /// Of what was summed before anything but the function was kept.
    pub(super) fn unknown(&self) -> Self {
        Self { folded: false, ..self.folded() }
    }

    /// Rare combinations of the same function.
    pub(super) fn folded(&self) -> Self {
        let function = self.function;
        Self { function, version_number: None, lane: None, source: None, principal: None, status: None, folded: true }
    }

    /// Rare combinations of functions that are too many as well.
    pub(super) fn folded_with_functions(&self) -> Self {
        Self { function: None, ..self.folded() }
    }

    /// Its digest. Of sums from before anything but the function was kept, it is the function's id: see the migration.
    pub(super) fn id(&self) -> DimensionsId {
        if let Some(function) = self.function
            && *self == self.unknown()
        {
            return *function.uuid().as_bytes();
        }
        let parts = [
            text(self.function),
            text(self.version_number),
            text(self.lane),
            text(self.source),
            text(self.principal.as_ref()),
            text(self.status),
            text(Some(self.folded)),
        ];
        let digest = blake3::hash(parts.join("\n").as_bytes());
        let mut id = [0; ID_LENGTH];
        id.copy_from_slice(&digest.as_bytes()[..ID_LENGTH]);
        id
    }

    /// Writes it into a row, with its digest.
    pub(super) fn put(self, id: DimensionsId, row: &mut usage_sums::Model) {
        row.id = id.to_vec();
        row.function_id = self.function.map(Col);
        row.version_number = self.version_number;
        row.lane = self.lane.map(Col);
        row.source = self.source.map(Col);
        row.principal = self.principal.map(Col);
        row.status = self.status;
        row.folded = self.folded;
    }
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_has_an_id_of_its_own() {
        let known = Dimensions {
            function: Some(FunctionId::new()),
            version_number: Some(1),
            lane: Some(Lane::Wasm),
            source: Some(RunSource::Call),
            principal: Some(RunPrincipal::Public),
            status: Some(2),
            folded: false,
        };
        let others = [
            Dimensions { function: Some(FunctionId::new()), ..known.clone() },
            Dimensions { version_number: Some(12), ..known.clone() },
            Dimensions { lane: Some(Lane::Vm), ..known.clone() },
            Dimensions { source: None, ..known.clone() },
            Dimensions { principal: None, ..known.clone() },
            Dimensions { status: Some(5), ..known.clone() },
            known.unknown(),
            known.folded(),
            known.folded_with_functions(),
        ];
        let ids: std::collections::BTreeSet<DimensionsId> = others.iter().map(Dimensions::id).collect();
        assert_eq!(ids.len(), others.len());
        assert!(!ids.contains(&known.id()) && ids.contains(known.function.unwrap().uuid().as_bytes()));
    }
}
