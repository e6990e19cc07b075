//! What each client has open at once. A client is an address; of IPv6 it is the network that one customer gets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// A customer of a provider has all addresses of such a network.
const CUSTOMER_V6: u128 = u128::MAX << 64;

/// Counts by client. Holds no more clients than there are things open.
#[derive(Debug, Default)]
pub(crate) struct ClientCounts {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One thing of a client; over when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    counts: Arc<ClientCounts>,
    client: IpAddr,
}

impl ClientCounts {
    /// One more, where the client has fewer than `most`.
    pub(crate) fn hold(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Held> {
        let client = customer(address);
        let mut open = self.open.lock();
        let count = open.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Held { counts: Arc::clone(self), client })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.counts.open.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// Whom an address stands for: itself, or of IPv6 its network.
pub(crate) fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & CUSTOMER_V6).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a17_each_client_has_its_own_share_and_nobody_is_remembered() {
        let counts = Arc::new(ClientCounts::default());
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = counts.hold(of("2001:db8::1"), 2);
        let second = counts.hold(of("2001:db8::ffff:2"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(counts.hold(of("2001:db8::3"), 2).is_none(), "the same customer");
        assert!(counts.hold(of("2001:db8:0:1::3"), 2).is_some() && counts.hold(of("192.0.2.1"), 1).is_some());
        drop(first);
        assert!(counts.hold(of("2001:db8::3"), 2).is_some());
        drop(second);
        assert!(counts.open.lock().is_empty());
    }
}
