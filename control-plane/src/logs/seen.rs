//! Which lines of a run have come, by their numbers: a line counts once however often it is sent, and a run has so many
//! lines at most, whatever its node says.

use protocol::node::RunLog;

/// A bit for each number, up to the greatest that has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(Vec<u8>);

impl Seen {
    /// As the column has it.
    pub(super) fn load(bytes: Option<Vec<u8>>) -> Self {
        Self(bytes.unwrap_or_default())
    }

    /// For the column.
    pub(super) fn store(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }

    /// Whether a line of this number may be taken.
    pub(super) fn takes(&self, sequence: u32) -> bool {
        let (byte, bit) = place(sequence);
        sequence < RunLog::LINES_MAX && self.0.get(byte).is_none_or(|bits| bits & bit == 0)
    }

    /// It has come.
    pub(super) fn insert(&mut self, sequence: u32) {
        let (byte, bit) = place(sequence.min(RunLog::LINES_MAX));
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= bit;
    }
}

fn place(sequence: u32) -> (usize, u8) {
    (usize::try_from(sequence / 8).unwrap_or(usize::MAX), 1 << (sequence % 8))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_line_once_and_not_too_many(sequences in proptest::collection::vec(0..RunLog::LINES_MAX + 100, 0..200)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for sequence in sequences {
                let takes = sequence < RunLog::LINES_MAX && !model.contains(&sequence);
                prop_assert_eq!(seen.takes(sequence), takes);
                if takes {
                    seen.insert(sequence);
                    model.insert(sequence);
                }
                seen = Seen::load(seen.store());
            }
        }
    }

    #[test]
    fn a_number_beyond_all_takes_no_room() {
        let mut seen = Seen::default();
        assert!(!seen.takes(u32::MAX));
        seen.insert(u32::MAX);
        assert!(seen.store().unwrap().len() <= 1 + usize::try_from(RunLog::LINES_MAX).unwrap() / 8);
    }
}
