//! Tickets: whether a call holds permission to do here what it asks, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use parking_lot::Mutex;
use protocol::ticket::{NodeKey, Purpose, SignedTicket, Ticket, TicketError, TwoDays};
use protocol::{NodeId, RunId, Timestamp, headers};

/// Runs whose ticket was used, remembered until it expires; a ticket that lives longer than this is refused.
const LIFE_MAX: Duration = Duration::from_secs(600);
const USED_MAX: usize = 1 << 20;

/// Why a ticket is of no use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the call has no ticket")]
    Missing,
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error("the ticket was used before")]
    Used,
    #[error("the node remembers as many used tickets as it can")]
    Full,
}

impl Invalid {
    /// Whether the node's keys, or what it knows of the platform's clock, may be out of date.
    pub(crate) fn may_be_ours(self) -> bool {
        matches!(self, Self::Ticket(TicketError::WrongDay | TicketError::Mac | TicketError::Expired))
    }
}

/// What this node knows of tickets.
pub(crate) struct TicketBook {
    node: NodeId,
    /// None until a hello was answered.
    keys: ArcSwapOption<TwoDays<NodeKey>>,
    /// The platform's clock minus ours, in milliseconds: the issuer's clock decides on expiry.
    ahead_ms: AtomicI64,
    used: Mutex<HashMap<RunId, Timestamp>>,
}

impl TicketBook {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, keys: ArcSwapOption::empty(), ahead_ms: AtomicI64::new(0), used: Mutex::default() }
    }

    /// What a hello's answer says: keys, and the platform's time.
    pub(crate) fn learn(&self, keys: TwoDays<NodeKey>, platform_now: Timestamp, our_now: Timestamp) {
        self.keys.store(Some(Arc::new(keys)));
        self.ahead_ms.store(platform_now.0.saturating_sub(our_now.0), Ordering::Relaxed);
    }

    /// The ticket in these headers, if it permits this, here and now.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<(SignedTicket, Ticket), Invalid> {
        let text = headers.get(headers::TICKET).ok_or(Invalid::Missing)?;
        let signed = SignedTicket(text.to_str().map_err(|_| TicketError::Malformed)?.to_owned());
        let keys = self.keys.load();
        let ticket = keys.as_ref().ok_or(TicketError::WrongDay)?.check(self.node, &signed)?;
        let platform_now = Timestamp(now.0.saturating_add(self.ahead_ms.load(Ordering::Relaxed)));
        judge(&ticket, self.node, purpose, platform_now)?;
        Ok((signed, ticket))
    }

    /// Marks the ticket as used: it permits one run. Where that run never begins, the ticket is as good as before.
    pub(crate) fn spend(self: &Arc<Self>, ticket: &Ticket, now: Timestamp) -> Result<Spent, Invalid> {
        let platform_now = Timestamp(now.0.saturating_add(self.ahead_ms.load(Ordering::Relaxed)));
        let mut used = self.used.lock();
        // Amortised: a sweep only when the map has grown to a power of two.
        if used.len().is_power_of_two() && used.len() >= 1024 {
            used.retain(|_, expires| *expires >= platform_now);
        }
        if used.contains_key(&ticket.run) {
            return Err(Invalid::Used);
        }
        if used.len() >= USED_MAX {
            return Err(Invalid::Full);
        }
        used.insert(ticket.run, ticket.expires);
        drop(used);
        Ok(Spent { book: Arc::clone(self), run: ticket.run, begun: AtomicBool::new(false) })
    }
}

/// A ticket that is held for a run. Dropped before the run has begun (it was revoked), it gives the ticket back, so
/// that the gateway may come again with it.
pub(crate) struct Spent {
    book: Arc<TicketBook>,
    run: RunId,
    begun: AtomicBool,
}

impl Spent {
    /// The run begins: the ticket is of no more use.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if !*self.begun.get_mut() {
            self.book.used.lock().remove(&self.run);
        }
    }
}

fn judge(ticket: &Ticket, node: NodeId, purpose: Purpose, now: Timestamp) -> Result<(), TicketError> {
    ticket.permits(node, &[purpose], now)?;
    // To be begun it must be in time, too.
    if now > ticket.expires || ticket.expires > now.plus(LIFE_MAX) {
        return Err(TicketError::Expired);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
