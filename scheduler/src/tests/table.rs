//! The table's estimates follow what really happened.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use protocol::ByteSize;

use super::{artifact, node_id, record, report};
use crate::{LastWord, NodeTable, Warmth};

const MEMORY: ByteSize = ByteSize::mib(128);

fn last(running: u32) -> Option<LastWord> {
    Some(LastWord { running, beside_the_run: Duration::ZERO })
}

fn table_of_one() -> (NodeTable, Instant) {
    let (mut table, now) = (NodeTable::new(), Instant::now());
    table.upsert(record(1));
    table.heard(report(1), now);
    (table, now)
}

#[test]
fn starts_and_ends_move_the_estimate_between_reports() {
    let (mut table, now) = table_of_one();
    let estimate = |table: &NodeTable| {
        let view = table.view(node_id(1)).unwrap();
        (view.running(), view.memory_free())
    };
    table.started(node_id(1), MEMORY);
    table.started(node_id(1), MEMORY);
    assert_eq!(estimate(&table), (2, ByteSize::mib(8192 - 256)));
    // Its end says that six run there: another gateway is busy too.
    table.ended(node_id(1), MEMORY, last(6));
    assert_eq!(estimate(&table), (6, ByteSize::mib(8192 - 128)));
    // Not taken: as if it had never been sent.
    table.started(node_id(1), MEMORY);
    table.ended(node_id(1), MEMORY, None);
    assert_eq!(estimate(&table), (6, ByteSize::mib(8192 - 128)));
    // A report counts everything anew, but the run that is there stays.
    table.heard(report(1), now);
    assert_eq!(estimate(&table), (1, ByteSize::mib(8192)));
    // It began before the report: its memory comes back.
    table.ended(node_id(1), MEMORY, last(0));
    assert_eq!(estimate(&table), (0, ByteSize::mib(8192 + 128)));
}

#[test]
fn a_silent_node_ages_and_a_stranger_is_not_heard() {
    let (mut table, now) = table_of_one();
    table.upsert(record(2));
    table.heard(report(3), now);
    let later = now + Duration::from_secs(10);
    let ages: Vec<Duration> = table.views(later).iter().map(|view| view.age).collect();
    assert_eq!(ages, [Duration::from_secs(10), Duration::MAX]);
    assert!(table.view(node_id(3)).is_none());
}

#[test]
fn a_report_says_what_a_node_has() {
    let (mut table, now) = table_of_one();
    // What is loaded is on disk too.
    let (warm, cached) = (vec![artifact(1)], vec![artifact(1), artifact(2)]);
    table.heard(protocol::node::NodeReport { warm, cached, ..report(1) }, now);
    let warmth = |table: &NodeTable| [1, 2, 3].map(|number| table.view(node_id(1)).unwrap().warmth(&artifact(number)));
    assert_eq!(warmth(&table), [Warmth::Warm, Warmth::Cached, Warmth::Cold]);
    table.heard(report(1), now);
    assert_eq!(warmth(&table), [Warmth::Cold; 3]);
}

#[derive(Debug, Clone)]
enum Event {
    Upsert,
    Remove,
    Heard(u32),
    Started,
    Ended(Option<u32>),
}

fn any_event() -> impl Strategy<Value = (usize, Event)> {
    let event = prop_oneof![
        Just(Event::Upsert),
        Just(Event::Remove),
        (0..20_u32).prop_map(Event::Heard),
        Just(Event::Started),
        prop::option::of(0..20_u32).prop_map(Event::Ended),
    ];
    (0..4_usize, event)
}

proptest! {
    /// Whatever happens, each node is found under its own id, own runs are counted right, and no estimate is below
    /// what is surely there.
    #[test]
    fn any_history_keeps_the_books(events in prop::collection::vec(any_event(), 0..200)) {
        let (mut table, now) = (NodeTable::new(), Instant::now());
        let mut own = [None::<u32>; 4];
        for (number, event) in events {
            let node = node_id(number);
            match event {
                Event::Upsert => {
                    table.upsert(record(number));
                    own[number].get_or_insert(0);
                }
                Event::Remove => {
                    table.remove(node);
                    own[number] = None;
                }
                Event::Heard(running) => {
                    table.heard(protocol::node::NodeReport { running, ..report(number) }, now);
                    if let Some(own) = own[number] {
                        prop_assert_eq!(table.view(node).unwrap().running(), running.max(own));
                    }
                }
                Event::Started => {
                    table.started(node, MEMORY);
                    own[number] = own[number].map(|own| own + 1);
                }
                Event::Ended(running) => {
                    table.ended(node, MEMORY, running.and_then(last));
                    own[number] = own[number].map(|own| own.saturating_sub(1));
                }
            }
            prop_assert_eq!(table.views(now).len(), own.iter().flatten().count());
            for (number, own) in own.iter().enumerate() {
                let view = table.view(node_id(number));
                prop_assert_eq!(view.map(|view| (view.record.node, view.own_running)), own.map(|own| (node_id(number), own)));
                prop_assert!(view.is_none_or(|view| view.running() >= view.own_running));
            }
        }
    }
}
