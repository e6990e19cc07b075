//! The key that signs tickets of calls.

use ed25519_dalek::SigningKey;
use placing::TicketIssuer;
use protocol::ticket::{SignedTicket, Ticket};

/// Signs; the control plane has the same key.
pub(crate) struct TicketKey(pub(crate) SigningKey);

impl TicketIssuer for TicketKey {
    fn issue(&self, ticket: &Ticket) -> Option<SignedTicket> {
        Some(ticket.sign(&self.0))
    }
}
