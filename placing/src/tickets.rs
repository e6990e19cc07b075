//! The one place where a run's ticket is made. How it is sealed is its issuer's affair.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use protocol::receipt::Observation;
use protocol::ticket::{RunTicket, SignedTicket};
use protocol::{Digest, Limits, Timestamp, headers};

use crate::nodes::Reservation;

/// Who may permit nodes to do runs.
pub trait TicketIssuer: Send + Sync {
    /// Permission for a node to do a run, from now on for so long; none where it cannot be given now.
    fn issue(&self, of: RunTicket, now: Timestamp, lasts: Duration) -> Option<SignedTicket>;
}

/// What the node of `to` needs permission for: to do the run that is `seen`.
pub(crate) fn for_run(seen: &Observation, (artifact, limits): (Digest, Limits), to: &Reservation) -> RunTicket {
    RunTicket {
        run: seen.run,
        node: to.node(),
        lane: to.lane(),
        account: seen.account,
        function: seen.function,
        version: seen.version,
        artifact,
        limits,
    }
}

/// Puts a ticket into the head of a request for a node. False: it does not fit there.
pub(crate) fn attach(ticket: SignedTicket, head: &mut HeaderMap) -> bool {
    let value = HeaderValue::try_from(ticket.0).ok();
    value.map(|value| head.insert(headers::TICKET, value)).is_some()
}
