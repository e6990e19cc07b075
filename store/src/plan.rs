//! Which copies of a segment stay, which are made and which go: decided from what each engine has, without doing it.

use std::collections::BTreeSet;

/// What an engine has of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it, as far as was looked.
    Whole,
    /// Nothing.
    Missing,
    /// Something else than was put.
    Damaged,
    /// The engine fails, so that nobody knows.
    Unknown,
}

/// An engine, in the segment's order of engines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// Its place among the engines.
    pub(crate) disk: usize,
    pub(crate) domain: &'a str,
    pub(crate) kept: Kept,
    /// It takes another copy now.
    pub(crate) takes: bool,
    /// It is to be taken out: a copy there does not count.
    pub(crate) leaves: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whole copies that count: of distinct domains, and not more than are wanted.
    pub(crate) good: Vec<usize>,
    /// These engines are to get one.
    pub(crate) put: Vec<usize>,
    /// What these have goes, once there are as many good ones as are wanted.
    pub(crate) remove: Vec<usize>,
}

impl Plan {
    /// There is nothing to do.
    pub(crate) fn is_done(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

/// Decides. Engines that come first keep their copies, so that whoever decides anew keeps the same ones.
pub(crate) fn plan(seats: &[Seat<'_>], wanted: usize) -> Plan {
    let mut plan = Plan::default();
    let mut domains = BTreeSet::new();
    let good = seats.iter().filter(|seat| seat.kept == Kept::Whole && !seat.leaves);
    for seat in good {
        if plan.good.len() < wanted && domains.insert(seat.domain) {
            plan.good.push(seat.disk);
        }
    }
    let free = seats.iter().filter(|seat| matches!(seat.kept, Kept::Missing | Kept::Damaged));
    for seat in free.filter(|seat| seat.takes && !seat.leaves) {
        if plan.good.len() + plan.put.len() < wanted && domains.insert(seat.domain) {
            plan.put.push(seat.disk);
        }
    }
    // Where not all that are wanted can be had, each copy may be needed.
    if plan.good.len() + plan.put.len() >= wanted {
        let others = seats.iter().filter(|seat| matches!(seat.kept, Kept::Whole | Kept::Damaged));
        plan.remove
            .extend(others.map(|seat| seat.disk).filter(|disk| !plan.good.contains(disk) && !plan.put.contains(disk)));
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Kept::{Damaged, Missing, Unknown, Whole};
    use super::*;

    fn seats(kept: &[(&'static str, Kept)]) -> Vec<Seat<'static>> {
        let seat = |(disk, &(domain, kept))| Seat { disk, domain, kept, takes: true, leaves: false };
        kept.iter().enumerate().map(seat).collect()
    }

    fn planned(seats: &[Seat<'_>], wanted: usize) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
        let Plan { good, put, remove } = plan(seats, wanted);
        (good, put, remove)
    }

    #[test]
    fn lost_copies_come_back_in_another_domain() {
        let all = [("a", Whole), ("b", Whole), ("c", Missing)];
        assert_eq!(planned(&seats(&all), 2), (vec![0, 1], vec![], vec![]));
        let gone = [("a", Unknown), ("b", Whole), ("c", Missing)];
        assert_eq!(planned(&seats(&gone), 2), (vec![1], vec![2], vec![]));
        let empty = [("a", Missing), ("b", Whole), ("c", Missing)];
        assert_eq!(planned(&seats(&empty), 2), (vec![1], vec![0], vec![]));
        let same = [("a", Whole), ("a", Missing), ("c", Missing)];
        assert_eq!(planned(&seats(&same), 2), (vec![0], vec![2], vec![]), "not twice on one disk");
    }

    #[test]
    fn what_is_damaged_is_replaced_or_goes() {
        assert_eq!(planned(&seats(&[("a", Damaged), ("b", Whole)]), 2), (vec![1], vec![0], vec![]));
        let elsewhere = [("a", Whole), ("b", Whole), ("c", Damaged)];
        assert_eq!(planned(&seats(&elsewhere), 2), (vec![0, 1], vec![], vec![2]));
        assert_eq!(planned(&seats(&[("a", Damaged)]), 1), (vec![], vec![0], vec![]), "there is nothing to put, either");
    }

    #[test]
    fn extra_copies_go_only_where_enough_are_left() {
        let three = [("a", Whole), ("b", Whole), ("c", Whole)];
        assert_eq!(planned(&seats(&three), 2), (vec![0, 1], vec![], vec![2]));
        let one_domain = [("a", Whole), ("a", Whole)];
        assert_eq!(planned(&seats(&one_domain), 2), (vec![0], vec![], vec![]));
        assert_eq!(planned(&seats(&[("a", Unknown), ("a", Whole), ("b", Damaged)]), 3), (vec![1], vec![2], vec![]));
    }

    #[test]
    fn a_disk_that_leaves_is_emptied_and_gets_nothing() {
        let mut leaving = seats(&[("a", Whole), ("b", Whole), ("c", Missing)]);
        leaving[0].leaves = true;
        assert_eq!(planned(&leaving, 2), (vec![1], vec![2], vec![0]));
        leaving[2].takes = false;
        assert_eq!(planned(&leaving, 2), (vec![1], vec![], vec![]), "the others are full: it keeps what it has");
    }

    proptest! {
        #[test]
        fn whatever_goes_enough_stay(
            kept in prop::collection::vec(
                (0..4_usize, prop::sample::select(vec![Whole, Missing, Damaged, Unknown]), any::<(bool, bool)>()), 0..6),
            wanted in 1..4_usize,
        ) {
            const DOMAINS: [&str; 4] = ["a", "b", "c", "d"];
            let seat = |(disk, &(domain, kept, (takes, leaves)))| {
                let domain: usize = domain;
                Seat { disk, domain: DOMAINS[domain], kept, takes, leaves }
            };
            let seats: Vec<Seat<'_>> = kept.iter().enumerate().map(seat).collect();
            let plan = plan(&seats, wanted);
            let stay: Vec<usize> = plan.good.iter().chain(&plan.put).copied().collect();
            let domains: BTreeSet<&str> = stay.iter().map(|disk| seats[*disk].domain).collect();
            prop_assert_eq!(domains.len(), stay.len());
            prop_assert!(stay.len() <= wanted);
            prop_assert!(plan.remove.is_empty() || stay.len() == wanted);
            prop_assert!(plan.remove.iter().all(|disk| !stay.contains(disk)));
            prop_assert!(plan.put.iter().all(|disk| seats[*disk].takes && !seats[*disk].leaves));
        }
    }
}
