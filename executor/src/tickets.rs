//! Tickets: whether a call holds permission to do here what it asks, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use http::HeaderMap;
use parking_lot::Mutex;
use protocol::ticket::{Purpose, SignedTicket, Ticket, TicketError};
use protocol::{NodeId, RunId, Timestamp, headers};

/// Ticket keys that are taken from a hello at most.
const KEYS_MAX: usize = 8;
/// Runs whose ticket was used, remembered until it expires; a ticket that lives longer than this is refused.
const LIFE_MAX: Duration = Duration::from_secs(600);
const USED_MAX: usize = 1 << 20;

/// Why a ticket is of no use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the call has no ticket")]
    Missing,
    #[error("the ticket is malformed or of another version")]
    Malformed,
    #[error("not_understood: the ticket says what this node's software does not know; update it")]
    NotUnderstood,
    #[error("the ticket's signature is wrong")]
    Signature,
    #[error("the ticket is for another node")]
    WrongNode,
    #[error("the ticket is for something else")]
    WrongPurpose,
    #[error("the ticket has expired")]
    Expired,
    #[error("the ticket was used before")]
    Used,
    #[error("the node remembers as many used tickets as it can")]
    Full,
}

/// What this node knows of tickets.
pub(crate) struct TicketBook {
    node: NodeId,
    keys: ArcSwap<Vec<VerifyingKey>>,
    /// The platform's clock minus ours, in milliseconds: the issuer's clock decides on expiry.
    ahead_ms: AtomicI64,
    used: Mutex<HashMap<RunId, Timestamp>>,
}

impl TicketBook {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, keys: ArcSwap::default(), ahead_ms: AtomicI64::new(0), used: Mutex::default() }
    }

    /// What a hello's answer says: keys, and the platform's time.
    pub(crate) fn learn(&self, keys: &[String], platform_now: Timestamp, our_now: Timestamp) {
        let key = |text: &String| {
            let raw: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
            VerifyingKey::from_bytes(&raw).ok()
        };
        self.keys.store(Arc::new(keys.iter().take(KEYS_MAX).filter_map(key).collect()));
        self.ahead_ms.store(platform_now.0.saturating_sub(our_now.0), Ordering::Relaxed);
    }

    /// The ticket in these headers, if it permits this, here and now.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<(SignedTicket, Ticket), Invalid> {
        let text = headers.get(headers::TICKET).ok_or(Invalid::Missing)?.to_str().map_err(|_| Invalid::Malformed)?;
        let signed = SignedTicket(text.to_owned());
        let ticket = signed.verify(&self.keys.load()).map_err(|error| match error {
            TicketError::Signature => Invalid::Signature,
            TicketError::NotUnderstood => Invalid::NotUnderstood,
            _ => Invalid::Malformed,
        })?;
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

fn judge(ticket: &Ticket, node: NodeId, purpose: Purpose, now: Timestamp) -> Result<(), Invalid> {
    ticket.permits(node, &[purpose], now).map_err(|error| match error {
        TicketError::WrongNode => Invalid::WrongNode,
        TicketError::WrongPurpose => Invalid::WrongPurpose,
        TicketError::Expired => Invalid::Expired,
        TicketError::Signature => Invalid::Signature,
        TicketError::Malformed => Invalid::Malformed,
        TicketError::NotUnderstood => Invalid::NotUnderstood,
    })?;
    // To be begun it must be in time, too.
    if now > ticket.expires || ticket.expires > now.plus(LIFE_MAX) {
        return Err(Invalid::Expired);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use ed25519_dalek::SigningKey;
    use protocol::{AccountId, Digest, FunctionId, InstanceId, Lane, Limits, VersionId};

    use super::*;

    pub(crate) fn ticket(node: NodeId, purpose: Purpose) -> Ticket {
        let now = Timestamp::now();
        Ticket {
            v: Ticket::VERSION,
            purpose,
            run: RunId::new(),
            node,
            account: AccountId::new(),
            function: FunctionId::new(),
            version: VersionId::new(),
            artifact: Digest::of(b"artifact"),
            lane: Lane::Wasm,
            limits: Limits::default(),
            issuer: InstanceId::new(),
            issued: now,
            expires: now.plus(Duration::from_secs(60)),
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn book(node: NodeId, ahead_ms: i64) -> Arc<TicketBook> {
        let book = Arc::new(TicketBook::new(node));
        let now = Timestamp::now();
        let text = URL_SAFE_NO_PAD.encode(key(1).verifying_key().as_bytes());
        book.learn(&["garbage".to_owned(), text], Timestamp(now.0 + ahead_ms), now);
        book
    }

    fn check(book: &TicketBook, signed: &str) -> Result<Ticket, Invalid> {
        let mut headers = HeaderMap::new();
        headers.insert(headers::TICKET, signed.parse().unwrap());
        book.check(&headers, Purpose::Run, Timestamp::now()).map(|(_, ticket)| ticket)
    }

    #[test]
    fn only_a_genuine_ticket_for_this_node_and_purpose_is_taken() {
        let node = NodeId::new();
        let book = book(node, 0);
        let good = ticket(node, Purpose::Run);
        assert_eq!(check(&book, &good.sign(&key(1)).0), Ok(good.clone()));
        assert_eq!(check(&book, &good.sign(&key(2)).0), Err(Invalid::Signature));
        assert_eq!(check(&book, "nonsense"), Err(Invalid::Malformed));
        assert_eq!(check(&book, &ticket(NodeId::new(), Purpose::Run).sign(&key(1)).0), Err(Invalid::WrongNode));
        assert_eq!(check(&book, &ticket(node, Purpose::Prepare).sign(&key(1)).0), Err(Invalid::WrongPurpose));
        assert_eq!(book.check(&HeaderMap::new(), Purpose::Run, Timestamp::now()).unwrap_err(), Invalid::Missing);
        let newer = Ticket { v: 2, ..good };
        assert_eq!(check(&book, &newer.sign(&key(1)).0), Err(Invalid::Malformed));
    }

    #[test]
    fn f35_a_ticket_of_a_later_release() {
        use ed25519_dalek::Signer as _;
        let node = NodeId::new();
        let signed = |name: &str| {
            let mut json = serde_json::to_value(ticket(node, Purpose::Run)).unwrap();
            json["limits"][name] = 1.into();
            let text = URL_SAFE_NO_PAD.encode(json.to_string());
            let signature = URL_SAFE_NO_PAD.encode(key(1).sign(text.as_bytes()).to_bytes());
            format!("{text}.{signature}")
        };
        assert!(check(&book(node, 0), &signed("gpus")).is_ok());
        let refused = check(&book(node, 0), &signed("!gpus")).unwrap_err();
        assert_eq!(refused, Invalid::NotUnderstood);
        assert!(refused.to_string().starts_with("not_understood"), "the busy reason names the code");
    }

    #[test]
    fn expiry_is_by_the_platforms_clock() {
        let node = NodeId::new();
        let signed = ticket(node, Purpose::Run).sign(&key(1)).0;
        assert!(check(&book(node, 30_000), &signed).is_ok());
        assert_eq!(check(&book(node, 61_000), &signed), Err(Invalid::Expired));
        let too_early = -i64::try_from(LIFE_MAX.as_millis()).unwrap();
        assert_eq!(check(&book(node, too_early), &signed), Err(Invalid::Expired), "it would live for too long");
    }

    #[test]
    fn a_ticket_permits_one_run() {
        let book = book(NodeId::new(), 0);
        let ticket = ticket(NodeId::new(), Purpose::Run);
        book.spend(&ticket, Timestamp::now()).unwrap().begin();
        assert_eq!(book.spend(&ticket, Timestamp::now()).err(), Some(Invalid::Used));
    }

    #[test]
    fn a05_a_ticket_whose_run_never_began_is_good_again() {
        let book = book(NodeId::new(), 0);
        let ticket = ticket(NodeId::new(), Purpose::Run);
        let revoked = book.spend(&ticket, Timestamp::now()).unwrap();
        assert_eq!(book.spend(&ticket, Timestamp::now()).err(), Some(Invalid::Used), "while it is held");
        drop(revoked);
        book.spend(&ticket, Timestamp::now()).unwrap().begin();
        assert_eq!(book.spend(&ticket, Timestamp::now()).err(), Some(Invalid::Used));
    }

    #[test]
    fn used_tickets_are_forgotten_once_expired() {
        let book = book(NodeId::new(), 0);
        let later = Timestamp::now().plus(Duration::from_secs(120));
        for _ in 0..1024 {
            book.spend(&ticket(NodeId::new(), Purpose::Run), Timestamp::now()).unwrap().begin();
        }
        book.spend(&ticket(NodeId::new(), Purpose::Run), later).unwrap().begin();
        assert_eq!(book.used.lock().len(), 1);
    }
}
