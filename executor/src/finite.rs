//! What a node has of everything that is finite, and what one tenant may have of it: the account in a run's ticket.

use fabric::shares::{Finite, TenantShare, Unit};
use protocol::ByteSize;

use crate::config::Config;

/// What `busy` begins with where the tenant holds its share. The gateway goes by it.
pub(crate) const BUSY_SHARE: &str = protocol::Code::ShareExceeded.as_str();

const NEXT_NODE: &str = "`busy`: another node is asked; then 429 `share_exceeded` from the gateway, and a job waits";
const ITS_TURN: &str = "waits for its turn; a tenant that has none goes first";
const OWN_GOES: &str = "its own least recently used go first";

fn line(config: &Config, what: &'static str, option: &'static str, total: u64, over: &'static str) -> Finite {
    let share = config.tenant_share;
    Finite { service: "node", what, option, total, unit: Unit::Count, share, over }
}

fn bytes(config: &Config, what: &'static str, option: &'static str, total: ByteSize, over: &'static str) -> Finite {
    Finite { unit: Unit::Bytes, ..line(config, what, option, total.0, over) }
}

pub(crate) fn runs(config: &Config) -> Finite {
    line(config, "runs at once", "--node-slots", config.slots.into(), NEXT_NODE)
}

pub(crate) fn memory(config: &Config) -> Finite {
    Finite { unit: Unit::Lent, ..bytes(config, "memory of runs", "--node-memory", config.memory, NEXT_NODE) }
}

/// All of them are for whoever is alone: a turn is short.
pub(crate) fn threads(config: &Config) -> Finite {
    let (total, share) = (config.cores.max(1).into(), TenantShare::WHOLE);
    let line = line(config, "threads of guests that compute", "--node-cores", total, ITS_TURN);
    Finite { unit: Unit::Cores, share, ..line }
}

pub(crate) fn compiles(config: &Config) -> Finite {
    let what = "compiles and conversions at once";
    line(config, what, "--node-compile-slots", config.compile_slots.max(1).into(), ITS_TURN)
}

pub(crate) fn log_bytes(config: &Config) -> Finite {
    let over = "lines are lost; the gap in their numbers shows it";
    bytes(config, "bytes of logs on their way", "--node-log-bytes", config.log_bytes, over)
}

/// What a line takes of these bytes at least: its place among the lines that wait is shared with them.
pub(crate) fn log_line_bytes_min(config: &Config) -> u64 {
    config.log_bytes.0 / u64::try_from(config.log_queue.max(1)).unwrap_or(u64::MAX)
}

/// Of each lane.
pub(crate) fn connections(config: &Config) -> Finite {
    let over = "the guest's request fails: `connection-limit-reached`, or 429 from a machine's proxy";
    line(config, "connections to other hosts, by lane", "--node-egress-max", config.egress_max.into(), over)
}

/// Of each lane.
pub(crate) fn lookups(config: &Config) -> Finite {
    line(config, "names looked up at once, by lane", "--node-lookups-max", config.lookups_max.into(), ITS_TURN)
}

fn code(config: &Config) -> Finite {
    bytes(config, "machine code in memory", "--node-code", config.code, OWN_GOES)
}

fn cache(config: &Config) -> Finite {
    bytes(config, "compiled artifacts on disk", "--node-cache", config.cache, OWN_GOES)
}

fn images(config: &Config) -> Finite {
    bytes(config, "images on disk", "--node-images", config.images, OWN_GOES)
}

/// All of it.
#[must_use]
pub fn all(config: &Config) -> Vec<Finite> {
    let lines = [runs, memory, threads, compiles, connections, lookups, log_bytes];
    // Of caches one alone may fill all: what others need makes room by itself.
    let caches = [code, cache, images];
    let whole = |line: Finite| Finite { share: TenantShare::WHOLE, ..line };
    let lines = lines.iter().map(|line| line(config));
    lines.chain(caches.iter().map(|line| whole(line(config)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_in_the_list_of_bounds_is_there() {
        let command = <Config as clap::Args>::augment_args(clap::Command::new("node"));
        let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let rows = fabric::shares::documented(include_str!("../../docs/bounds.md"), "node");
        assert!(!rows.is_empty());
        for named in rows.iter().flat_map(|row| row.split('`')).filter_map(|word| word.strip_prefix("--")) {
            assert!(options.contains(&named), "docs/bounds.md names --{named}");
        }
    }

    #[test]
    fn a06_one_accounts_short_lines_leave_places_for_others() {
        let config = Config::new(std::path::PathBuf::new(), protocol::NodeId::new(), "n");
        let (shares, least) = (log_bytes(&config).shares(), log_line_bytes_min(&config));
        let (ada, bob) = (protocol::AccountId::new(), protocol::AccountId::new());
        let lines: Vec<_> = std::iter::from_fn(|| shares.try_take(ada, least).ok()).collect();
        assert_eq!(lines.len(), config.log_queue * 3 / 4);
        assert!(shares.try_take(bob, least).is_ok());
    }

    #[test]
    fn a06_the_table_is_as_documented() {
        let config = Config::new(std::path::PathBuf::new(), protocol::NodeId::new(), "n");
        let rows: Vec<String> = all(&config).iter().map(Finite::row).collect();
        assert_eq!(fabric::shares::documented(include_str!("../../ARCHITECTURE.md"), "node"), rows);
    }
}
