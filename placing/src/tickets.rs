//! The one place where a run's ticket is made. How it is sealed is its issuer's affair.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use protocol::receipt::Observation;
use protocol::ticket::{Purpose, SignedTicket, Ticket};
use protocol::{Digest, Limits, Timestamp, headers};

use crate::nodes::Reservation;

/// Who may permit nodes to do runs.
pub trait TicketIssuer: Send + Sync {
    /// Seals a ticket; none where it cannot now.
    fn issue(&self, ticket: &Ticket) -> Option<SignedTicket>;
}

/// Permission for the node of `to` to do the run that is `seen`, for so long.
pub(crate) fn for_run(
    seen: &Observation,
    (artifact, limits): (Digest, Limits),
    to: &Reservation,
    life: Duration,
) -> Ticket {
    let issued = Timestamp::now();
    Ticket {
        v: Ticket::VERSION,
        purpose: Purpose::Run,
        run: seen.run,
        node: to.node(),
        account: seen.account,
        function: seen.function,
        version: seen.version,
        artifact,
        lane: to.lane(),
        limits,
        issuer: seen.gateway,
        issued,
        expires: issued.plus(life),
    }
}

/// Puts a ticket into the head of a request for a node. False: it does not fit there.
pub(crate) fn attach(ticket: SignedTicket, head: &mut HeaderMap) -> bool {
    let value = HeaderValue::try_from(ticket.0).ok();
    value.map(|value| head.insert(headers::TICKET, value)).is_some()
}
