//! What a gateway has of everything that is finite, and what one tenant may have of it: the account of the function.

use std::net::IpAddr;

use fabric::shares::{Finite, Held, Over, Shares, Unit};
use protocol::{AccountId, ByteSize};

use crate::clients::customer;
use crate::config::Config;

/// Who connects is not known yet: a client's address stands for it. Counted in `clients`.
fn connections(config: &Config) -> Finite {
    let (what, over) = ("connections, by client", "429 `rate_limited`, and closed");
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (unit, share) = (Unit::Each(count(config.client_connections_max)), config.tenant_share);
    let (service, total) = ("gateway", count(config.connections_max));
    Finite { service, what, option: "--connections-max", total, unit, share, over }
}

fn handshakes(config: &Config) -> Finite {
    let (what, over) = ("TLS handshakes, by client", "waits for its turn; a client that has none goes first");
    let total = u64::try_from(config.handshakes_max).unwrap_or(u64::MAX);
    let (service, option, share) = ("gateway", "--handshakes-max", config.tenant_share);
    Finite { service, what, option, total, unit: Unit::Count, share, over }
}

fn waiting(config: &Config) -> Finite {
    let (what, over) = ("runs that wait for a node", "429 `share_exceeded`");
    let (service, total, share) = ("gateway", config.waiting_runs_max.into(), config.tenant_share);
    Finite { service, what, option: "--waiting-runs-max", total, unit: Unit::Count, share, over }
}

fn kept(config: &Config) -> Finite {
    let what = "bytes of requests kept for another node";
    let over = "nothing is kept: should the node fail, the run is not sent to another one";
    let (service, total, share) = ("gateway", config.replay_total_max.0, config.tenant_share);
    Finite { service, what, option: "--replay-total-max", total, unit: Unit::Bytes, share, over }
}

/// All of it.
#[must_use]
pub fn all(config: &Config) -> Vec<Finite> {
    vec![connections(config), handshakes(config), waiting(config), kept(config)]
}

/// What this process shares out.
pub(crate) struct Bounds {
    handshakes: Shares<IpAddr>,
    waiting: Shares<AccountId>,
    kept: Shares<AccountId>,
    replay_max: ByteSize,
}

impl Bounds {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            // Whoever waits there has a connection already.
            handshakes: handshakes(config).shares_with_lines(connections(config).total.saturating_mul(2)),
            waiting: waiting(config).shares(),
            kept: kept(config).shares(),
            replay_max: config.replay_max,
        }
    }

    /// A turn at a TLS handshake.
    pub(crate) async fn handshake(&self, client: IpAddr) -> Result<Held<IpAddr>, Over> {
        self.handshakes.take(customer(client)).await
    }

    /// A place among the runs that wait until a node has room.
    pub(crate) fn wait(&self, account: AccountId) -> Result<Held<AccountId>, Over> {
        self.waiting.try_take(account, 1)
    }

    /// Room for the beginning of a request, should another node need it; none where the account has its share.
    pub(crate) fn keep(&self, account: AccountId, announced: Option<u64>) -> Option<Held<AccountId>> {
        let most = self.replay_max.0;
        self.kept.try_take(account, announced.unwrap_or(most).min(most)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_in_the_list_of_bounds_is_there() {
        let command = <Config as clap::Args>::augment_args(clap::Command::new("gateway"));
        let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let rows = fabric::shares::documented(include_str!("../../docs/bounds.md"), "gateway");
        assert!(!rows.is_empty());
        for named in rows.iter().flat_map(|row| row.split('`')).filter_map(|word| word.strip_prefix("--")) {
            assert!(options.contains(&named), "docs/bounds.md names --{named}");
        }
    }

    #[test]
    fn a06_the_table_is_as_documented() {
        let config = Config::new("spool".into());
        let rows: Vec<String> = all(&config).iter().map(Finite::row).collect();
        assert_eq!(fabric::shares::documented(include_str!("../../ARCHITECTURE.md"), "gateway"), rows);
    }

    #[test]
    fn a06_what_is_kept_of_large_requests_is_shared() {
        let mut config = Config::new("spool".into());
        (config.replay_max, config.replay_total_max) = (ByteSize(100), ByteSize(800));
        let (bounds, ada, bob) = (Bounds::new(&config), AccountId::new(), AccountId::new());
        let large: Vec<_> = std::iter::from_fn(|| bounds.keep(ada, None)).collect();
        assert_eq!(large.len(), 6);
        let _one = bounds.keep(bob, Some(1000)).expect("room for another one");
    }
}
