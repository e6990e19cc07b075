//! The runs that are here now: what their host may see of them, and how they are given back.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use lending::control::{RUNS_MAX, RunShown};
use parking_lot::Mutex;
use protocol::node::Paused;
use wasm_host::Record;

/// See the module.
#[derive(Default)]
pub(crate) struct Work(Mutex<Runs>);

#[derive(Default)]
struct Runs {
    next: u64,
    here: BTreeMap<u64, Run>,
    /// Why none may go on; none where they may.
    give_back: Option<Paused>,
}

struct Run {
    shown: RunShown,
    record: Weak<Record>,
}

/// A run's place, given up on drop.
pub(crate) struct Place {
    work: Arc<Work>,
    id: u64,
}

impl Work {
    /// A run comes.
    pub(crate) fn enter(self: &Arc<Self>, shown: RunShown) -> Place {
        let mut runs = self.0.lock();
        let id = runs.next;
        runs.next += 1;
        runs.here.insert(id, Run { shown, record: Weak::new() });
        Place { work: Arc::clone(self), id }
    }

    /// Its record is known from now on. Where the machine was taken back meanwhile, the run does not begin.
    pub(crate) fn begin(&self, id: u64, record: &Arc<Record>) {
        let give_back = {
            let mut runs = self.0.lock();
            if let Some(run) = runs.here.get_mut(&id) {
                run.record = Arc::downgrade(record);
            }
            runs.give_back
        };
        if let Some(why) = give_back {
            record.give_back(&why);
        }
    }

    /// Gives back what runs, and what is yet to begin, for this reason; none: runs may go on.
    pub(crate) fn give_back(&self, why: Option<Paused>) {
        let records: Vec<Arc<Record>> = {
            let mut runs = self.0.lock();
            runs.give_back = why;
            runs.here.values().filter_map(|run| run.record.upgrade()).collect()
        };
        // Without the lock: a record that ends here gives up its place.
        if let Some(why) = why {
            records.iter().for_each(|record| record.give_back(&why));
        }
    }

    /// How many there are, and the oldest of them.
    pub(crate) fn shown(&self) -> (usize, Vec<RunShown>) {
        let runs = self.0.lock();
        (runs.here.len(), runs.here.values().take(RUNS_MAX).map(|run| run.shown).collect())
    }
}

impl Place {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work.0.lock().here.remove(&self.id);
    }
}
