//! Whether one more run fits: slots, memory by the run's own limit, of both no more than its account's share, and nothing
//! while the node drains or its owner keeps the machine. What was given is given back when the run has gone, however it went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use fabric::shares::{Held as Shared, Over, Shares, TenantShare};
use protocol::node::Paused;
use protocol::{AccountId, ByteSize};

use crate::finite::BUSY_SHARE;

/// Why a run does not fit. The text is the `busy` reason that a gateway sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the node is draining")]
    Draining,
    #[error("the node is {0}")]
    Paused(Paused),
    #[error("no slot is free")]
    Slots,
    #[error("too little memory is free")]
    Memory,
    #[error("{BUSY_SHARE}: the account holds its share of the node's {0}")]
    Share(&'static str),
    #[error("the node has no VM lane")]
    Lane,
    #[error("receipts wait to be written")]
    Receipts,
}

/// What a node lends, and how much of it is promised.
#[derive(Debug)]
pub(crate) struct Admission {
    slots: u32,
    /// What is lent now.
    memory: AtomicU64,
    /// Whether guests may connect to other hosts.
    egress: Arc<AtomicBool>,
    /// Why nothing is lent now.
    paused: ArcSwapOption<Paused>,
    /// Of both, what each account has.
    by_slots: Shares<AccountId>,
    by_memory: Shares<AccountId>,
    running: AtomicU32,
    promised: AtomicU64,
    /// Of that, for machines in which nothing runs, and templates that only save time.
    held: AtomicU64,
    draining: AtomicBool,
}

/// A run's share, given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    admission: Arc<Admission>,
    memory: u64,
    _of_account: [Shared<AccountId>; 2],
}

impl Admission {
    pub(crate) fn new(slots: u32, memory: ByteSize, share: TenantShare) -> Arc<Self> {
        Arc::new(Self {
            slots,
            memory: AtomicU64::new(memory.0),
            egress: Arc::new(AtomicBool::new(true)),
            paused: ArcSwapOption::empty(),
            by_slots: Shares::new(slots.into(), share),
            by_memory: Shares::new(memory.0, share),
            running: AtomicU32::new(0),
            promised: AtomicU64::new(0),
            held: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        })
    }

    /// Takes a share for one run of this account, if it fits.
    pub(crate) fn admit(self: &Arc<Self>, account: AccountId, memory: ByteSize) -> Result<Share, Refusal> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        if let Some(paused) = self.paused() {
            return Err(Refusal::Paused(paused));
        }
        let over = |over: Over, what: &'static str, all: Refusal| match over {
            Over::Share => Refusal::Share(what),
            Over::Total => all,
        };
        let of_account = [
            self.by_slots.try_take(account, 1).map_err(|why| over(why, "slots", Refusal::Slots))?,
            self.by_memory.try_take(account, memory.0).map_err(|why| over(why, "memory", Refusal::Memory))?,
        ];
        let slot = |running: u32| running.checked_add(1).filter(|sum| *sum <= self.slots);
        self.running.fetch_update(Ordering::AcqRel, Ordering::Relaxed, slot).map_err(|_| Refusal::Slots)?;
        if !self.promise(memory) {
            self.running.fetch_sub(1, Ordering::AcqRel);
            return Err(Refusal::Memory);
        }
        Ok(Share { admission: Arc::clone(self), memory: memory.0, _of_account: of_account })
    }

    fn promise(&self, memory: ByteSize) -> bool {
        let lent = self.memory.load(Ordering::Relaxed);
        let room = |promised: u64| promised.checked_add(memory.0).filter(|sum| *sum <= lent);
        self.promised.fetch_update(Ordering::AcqRel, Ordering::Relaxed, room).is_ok()
    }

    /// Keeps memory for a machine in which nothing runs, or a template that only saves time. It counts as free: it can be had again at any time.
    pub(crate) fn hold(self: &Arc<Self>, memory: ByteSize) -> Option<Held> {
        if self.is_draining() || self.paused().is_some() || !self.promise(memory) {
            return None;
        }
        self.held.fetch_add(memory.0, Ordering::AcqRel);
        Some(Held { admission: Arc::clone(self), memory: memory.0 })
    }

    /// Takes nothing new from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes nothing new for this reason; none: takes runs again.
    pub(crate) fn pause(&self, why: Option<Paused>) {
        self.paused.store(why.map(Arc::new));
    }

    /// Why nothing new is taken, beside that it drains.
    pub(crate) fn paused(&self) -> Option<Paused> {
        self.paused.load().as_deref().copied()
    }

    /// Lends so much from now on. What is promised beyond it comes back as runs end.
    pub(crate) fn lend(&self, memory: ByteSize, egress: bool) {
        self.memory.store(memory.0, Ordering::Relaxed);
        self.egress.store(egress, Ordering::Relaxed);
    }

    /// Whether guests may connect to other hosts, now and later.
    pub(crate) fn egress(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.egress)
    }

    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn memory_free(&self) -> ByteSize {
        let promised = self.promised.load(Ordering::Relaxed).saturating_sub(self.held.load(Ordering::Relaxed));
        ByteSize(self.memory.load(Ordering::Relaxed).saturating_sub(promised))
    }
}

/// Memory of what can be let go at any time, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    admission: Arc<Admission>,
    memory: u64,
}

impl Held {
    pub(crate) fn bytes(&self) -> ByteSize {
        ByteSize(self.memory)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.admission.held.fetch_sub(self.memory, Ordering::AcqRel);
        self.admission.promised.fetch_sub(self.memory, Ordering::AcqRel);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.admission.promised.fetch_sub(self.memory, Ordering::AcqRel);
        self.admission.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_bound_has_its_own_reason() {
        let ada = AccountId::new();
        let admission = Admission::new(2, ByteSize::mib(100), TenantShare::WHOLE);
        assert_eq!(admission.admit(ada, ByteSize::mib(101)).unwrap_err(), Refusal::Memory);
        let first = admission.admit(ada, ByteSize::mib(60)).unwrap();
        assert_eq!(admission.admit(ada, ByteSize::mib(60)).unwrap_err(), Refusal::Memory);
        let second = admission.admit(ada, ByteSize::mib(40)).unwrap();
        assert_eq!(admission.admit(ada, ByteSize(0)).unwrap_err(), Refusal::Slots);
        assert_eq!((admission.running(), admission.memory_free()), (2, ByteSize(0)));
        drop((first, second));
        assert_eq!((admission.running(), admission.memory_free()), (0, ByteSize::mib(100)));
        admission.drain();
        assert_eq!(admission.admit(ada, ByteSize(0)).unwrap_err(), Refusal::Draining);
    }

    #[test]
    fn what_its_owner_keeps_is_not_lent() {
        let ada = AccountId::new();
        let admission = Admission::new(4, ByteSize::mib(100), TenantShare::WHOLE);
        let running = admission.admit(ada, ByteSize::mib(60)).unwrap();
        let paused = Paused::open(protocol::node::PauseReason::OwnerActive);
        admission.pause(Some(paused));
        let refused = admission.admit(ada, ByteSize(0)).unwrap_err();
        assert_eq!(refused, Refusal::Paused(paused));
        assert_eq!(refused.to_string(), "the node is paused while its owner uses it");
        assert!(admission.hold(ByteSize(0)).is_none());
        admission.pause(None);
        admission.lend(ByteSize::mib(50), true);
        assert_eq!(admission.memory_free(), ByteSize(0), "what was promised stays so");
        assert_eq!(admission.admit(ada, ByteSize::mib(1)).unwrap_err(), Refusal::Memory);
        drop(running);
        assert_eq!(admission.memory_free(), ByteSize::mib(50));
        assert!(admission.admit(ada, ByteSize::mib(50)).is_ok());
    }

    #[test]
    fn what_is_held_counts_as_free_until_it_is_needed() {
        let ada = AccountId::new();
        let admission = Admission::new(2, ByteSize::mib(100), TenantShare::WHOLE);
        let held = admission.hold(ByteSize::mib(60)).unwrap();
        assert_eq!((admission.running(), admission.memory_free()), (0, ByteSize::mib(100)));
        assert!(admission.hold(ByteSize::mib(60)).is_none());
        assert_eq!(admission.admit(ada, ByteSize::mib(60)).unwrap_err(), Refusal::Memory);
        drop(held);
        let _share = admission.admit(ada, ByteSize::mib(60)).unwrap();
        assert_eq!(admission.memory_free(), ByteSize::mib(40));
        admission.drain();
        assert!(admission.hold(ByteSize(0)).is_none());
    }

    #[test]
    fn a06_one_account_leaves_room_for_others() {
        let (ada, bob) = (AccountId::new(), AccountId::new());
        let admission = Admission::new(8, ByteSize::mib(100), TenantShare::DEFAULT);
        let long: Vec<Share> = std::iter::from_fn(|| admission.admit(ada, ByteSize::mib(1)).ok()).collect();
        assert_eq!(long.len(), 6);
        let refused = admission.admit(ada, ByteSize::mib(1)).unwrap_err();
        assert_eq!(refused, Refusal::Share("slots"));
        assert!(refused.to_string().starts_with("share_exceeded: "), "the gateway goes by it: {refused}");
        let one = admission.admit(bob, ByteSize::mib(50)).unwrap();
        drop(long);
        let large = admission.admit(ada, ByteSize::mib(30)).unwrap();
        assert_eq!(admission.admit(ada, ByteSize::mib(10)).unwrap_err(), Refusal::Share("memory"));
        drop((one, large));
        assert!(admission.admit(ada, ByteSize::mib(100)).is_ok(), "a run that needs all of it can be done");
    }

    proptest! {
        #[test]
        fn never_more_than_is_lent(steps in prop::collection::vec((0_u64..50, any::<bool>()), 0..200)) {
            let ada = AccountId::new();
            let admission = Admission::new(10, ByteSize(100), TenantShare::WHOLE);
            let mut held: Vec<(u64, Share)> = Vec::new();
            for (memory, give_back) in steps {
                if give_back && !held.is_empty() {
                    held.remove(usize::try_from(memory).unwrap() % held.len());
                } else if let Ok(share) = admission.admit(ada, ByteSize(memory)) {
                    held.push((memory, share));
                }
                let promised: u64 = held.iter().map(|(memory, _)| memory).sum();
                prop_assert!(held.len() <= 10 && promised <= 100);
                prop_assert_eq!(admission.memory_free().0, 100 - promised);
                prop_assert_eq!(usize::try_from(admission.running()).unwrap(), held.len());
            }
        }
    }
}
