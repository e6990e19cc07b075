//! What this gateway makes tickets with: a key of its own, and what the nodes' keys of the present days are derived
//! from. The control plane gives both, over subjects of the core; they are nowhere but in this process's memory.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use placing::TicketIssuer;
use protocol::Timestamp;
use protocol::ticket::{DayRoot, IssuerKeys, RunTicket, SignedTicket, TwoDays};

use crate::core_client::CoreClient;

const PATH: &str = "/internal/ticket-keys";
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// Between two attempts, until there are keys.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The days that are valid change at noon, half a day before the next one begins: an answer may fail often before one
/// is missed. A machine that has slept for days has the new ones within so long.
const RENEW_EACH: Duration = Duration::from_secs(10);

/// Makes tickets, once there are keys.
#[derive(Default)]
pub(crate) struct Issuer {
    keys: ArcSwapOption<IssuerKeys>,
}

impl Issuer {
    /// Whether there are keys.
    pub(crate) fn is_ready(&self) -> bool {
        self.keys.load().is_some()
    }

    fn begin(&self, keys: IssuerKeys) {
        self.keys.store(Some(Arc::new(keys)));
    }

    fn renew(&self, days: TwoDays<DayRoot>) {
        if let Some(keys) = self.keys.load_full().filter(|keys| keys.days != days) {
            self.begin(IssuerKeys { days, ..(*keys).clone() });
        }
    }
}

/// None is made while there are no keys.
impl TicketIssuer for Issuer {
    fn issue(&self, of: RunTicket, now: Timestamp, lasts: Duration) -> Option<SignedTicket> {
        Some(self.keys.load().as_ref()?.run(of, now, lasts))
    }
}

/// Asks for the keys until they are there, and from then on for those of the days that come.
pub(crate) async fn follow(issuer: Arc<Issuer>, core: CoreClient) {
    let mut wait = ASK_AGAIN.0;
    loop {
        match core.post(PATH, &(), ASK_WITHIN).await {
            Ok(keys) => break issuer.begin(keys),
            Err(error) => tracing::info!(%error, "no keys for tickets yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(ASK_AGAIN.1);
    }
    loop {
        tokio::time::sleep(RENEW_EACH).await;
        match core.get(PATH, ASK_WITHIN).await {
            Ok(days) => issuer.renew(days),
            Err(error) => tracing::debug!(%error, "the days' keys for tickets stay as they are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ticket::TicketRoot;
    use protocol::{AccountId, Digest, EpochId, FunctionId, Lane, Limits, NodeId, RunId, VersionId};

    use super::*;

    #[test]
    fn tickets_are_made_with_the_keys_of_the_day() {
        let of = RunTicket {
            run: RunId::new(),
            node: NodeId::new(),
            lane: Lane::Wasm,
            account: AccountId::new(),
            function: FunctionId::new(),
            version: VersionId::new(),
            artifact: Digest::of(b"artifact"),
            limits: Limits::default(),
        };
        let node = of.node;
        let (root, epoch, lasts) = (TicketRoot::of(&[7; 32]), EpochId::new(), Duration::from_secs(20));
        let issuer = Issuer::default();
        let day = |number: i64| Timestamp(number * 86_400_000);
        assert!(!issuer.is_ready() && issuer.issue(of, day(0), lasts).is_none());
        issuer.renew(root.days(day(100)));
        assert!(!issuer.is_ready(), "an issuer has a key of its own, too");

        issuer.begin(root.issuer(epoch, day(100)));
        let first = issuer.issue(of, day(100), lasts).unwrap();
        assert!(root.node_keys(node, day(100)).check(node, &first).is_ok());
        issuer.renew(root.days(day(102)));
        let later = issuer.issue(of, day(102), lasts).unwrap();
        let keys = root.node_keys(node, day(102));
        assert!(keys.check(node, &first).is_err() && keys.check(node, &later).is_ok());
        for (signed, issued) in [(first, day(100)), (later, day(102))] {
            let ticket = root.check(&signed).unwrap();
            assert_eq!((ticket.epoch, ticket.issued, ticket.run), (epoch, issued, of.run), "it is the same issuer");
        }
    }
}
