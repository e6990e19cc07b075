//! What a control plane has of everything that is finite, and what one tenant may have of it.

mod refused;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::shares::{Finite, Held, Over, Shares, Unit};
use parking_lot::Mutex;
use protocol::{AccountId, Problem, UserId};

use crate::config::Config;
pub(crate) use refused::Asker;
use refused::Refused;

const REFUSED: &str = "429 `share_exceeded`";
/// What a request has one of while it works.
const TURNS: &str = "requests at once";
const ITS_TURN: &str = "waits for its turn; a tenant that has none goes first";

fn line(config: &Config, what: &'static str, option: &'static str, total: u64, over: &'static str) -> Finite {
    let (service, unit, share) = ("control-plane", Unit::Count, config.tenant_share);
    Finite { service, what, option, total, unit, share, over }
}

fn requests(config: &Config) -> Finite {
    let total = config.requests_max().into();
    let line = line(config, "requests that use the database at once", "--requests-max", total, ITS_TURN);
    Finite { unit: Unit::Cores, ..line }
}

fn requests_waiting(config: &Config) -> Finite {
    let total = config.requests_waiting_max.into();
    line(config, "requests that wait for their turn", "--requests-waiting-max", total, REFUSED)
}

fn waits(config: &Config) -> Finite {
    let what = "requests that wait for a job or a message";
    line(config, what, "--waits-max", config.waits_max.into(), REFUSED)
}

fn log_streams(config: &Config) -> Finite {
    line(config, "streams of logs", "--log-follows-max", count(config.log_follows_max), REFUSED)
}

fn job_streams(config: &Config) -> Finite {
    line(config, "streams of job events", "--job-streams-max", count(config.job_streams_max), REFUSED)
}

fn receipt_downloads(config: &Config) -> Finite {
    let total = config.receipt_downloads_max.into();
    line(config, "downloads of receipts", "--receipt-downloads-max", total, REFUSED)
}

fn prepares(config: &Config) -> Finite {
    line(config, "deploys that are prepared at once", "--prepares-max", count(config.prepares_max), ITS_TURN)
}

fn prepares_waiting(config: &Config) -> Finite {
    let total = config.prepares_waiting_max.into();
    line(config, "deploys that are not ready yet", "--prepares-waiting-max", total, REFUSED)
}

fn arrays(config: &Config) -> Finite {
    line(config, "job arrays that are submitted at once", "--job-arrays-max", config.job_arrays_max.into(), ITS_TURN)
}

fn job_slots(config: &Config) -> Finite {
    let over = "its jobs wait; an account with fewer on nodes goes first";
    Finite { unit: Unit::Lent, ..line(config, "slots of nodes for jobs", "--jobs-slots-share", 0, over) }
}

fn webhooks(config: &Config) -> Finite {
    let over = "told when others of the account's have been";
    line(config, "webhooks that are told at once", "--webhooks-max", config.webhooks_max.into(), over)
}

fn hashes(config: &Config) -> Finite {
    let what = "passwords that are hashed at once, by client or user";
    line(config, what, "--password-hashes-max", count(config.password_hashes_max), ITS_TURN)
}

fn hashes_waiting(config: &Config) -> Finite {
    let what = "passwords that wait to be hashed, by client or user";
    line(config, what, "--password-waits-max", count(config.password_waits_max), REFUSED)
}

/// Whose passwords are hashed.
pub(crate) fn passwords<K: Eq + std::hash::Hash + Clone>(config: &Config) -> Shares<K> {
    hashes(config).shares_with_lines(hashes_waiting(config).total)
}

fn count(total: usize) -> u64 {
    u64::try_from(total).unwrap_or(u64::MAX)
}

/// All of it. The slots of nodes are counted in `jobs::queue`.
#[must_use]
pub fn all(config: &Config) -> Vec<Finite> {
    let streams = [waits, log_streams, job_streams, receipt_downloads];
    let lines = [requests, requests_waiting].into_iter().chain(streams);
    let lines = lines.chain([prepares, prepares_waiting, arrays, webhooks, job_slots, hashes, hashes_waiting]);
    lines.map(|line| line(config)).collect()
}

/// Who is counted: an account, or a user who has named none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tenant {
    /// An account.
    Account(AccountId),
    /// A user, where no account is named.
    User(UserId),
}

/// What this process shares out.
pub(crate) struct Bounds {
    requests: Shares<Tenant>,
    refused: Refused,
    request_wait_max: Duration,
    waits: Shares<AccountId>,
    pub(crate) log_streams: Shares<AccountId>,
    pub(crate) job_streams: Shares<AccountId>,
    pub(crate) receipt_downloads: Shares<AccountId>,
    pub(crate) prepares: Shares<AccountId>,
    deploys: Shares<AccountId>,
    arrays: Shares<AccountId>,
    pub(crate) webhooks: Shares<AccountId>,
}

impl Bounds {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            requests: requests(config).shares_with_lines(requests_waiting(config).total),
            refused: Refused::default(),
            request_wait_max: config.request_wait_max.duration(),
            waits: waits(config).shares(),
            log_streams: log_streams(config).shares(),
            job_streams: job_streams(config).shares(),
            receipt_downloads: receipt_downloads(config).shares(),
            // Whoever may wait there has a place in `deploys` already.
            prepares: prepares(config).shares_with_lines(prepares_waiting(config).total.saturating_mul(2)),
            deploys: prepares_waiting(config).shares(),
            arrays: arrays(config).shares_with_lines(requests_waiting(config).total),
            webhooks: webhooks(config).shares(),
        }
    }

    /// Refuses whoever was refused a moment ago, and would be now: before it is looked up who that is.
    pub(crate) fn refuse_again(&self, asker: &Asker) -> Result<(), Problem> {
        let tenant = self.refused.tenant(asker, Instant::now());
        match tenant.and_then(|tenant| self.requests.refuses(&tenant)) {
            Some(over) => Err(over.problem(TURNS)),
            None => Ok(()),
        }
    }

    /// A turn for the request of somebody who has been looked up.
    pub(crate) async fn request_of(&self, asker: Asker, tenant: Tenant) -> Result<Turn, Problem> {
        let turn = self.request(tenant).await;
        turn.inspect_err(|_| self.refused.note(asker, tenant, Instant::now()))
    }

    /// A turn at the database, for as long as the request works.
    pub(crate) async fn request(&self, tenant: Tenant) -> Result<Turn, Problem> {
        let (shares, wait_max) = (self.requests.clone(), self.request_wait_max);
        let turn = Turn(Some(Arc::new(OneTurn { shares, tenant, wait_max, held: Mutex::default() })));
        turn.begin().await?;
        Ok(turn)
    }

    /// A place among the requests that wait for something to happen. They use the database now and then alone: the turn
    /// is given up for it.
    pub(crate) fn wait(&self, account: AccountId, turn: &Turn) -> Result<Held<AccountId>, Problem> {
        let what = "requests that wait for something to happen";
        let held = self.waits.try_take(account, 1).map_err(|over| over.problem(what))?;
        turn.end();
        Ok(held)
    }

    /// How long one of so many that watch for an account pauses between two looks at the database: a few look
    /// at once, many a hundred times a second together, and each every two seconds at least.
    pub(crate) fn pace(watchers: &Shares<AccountId>, account: AccountId) -> Duration {
        const SLOWEST: Duration = Duration::from_secs(2);
        const AT_ONCE: u64 = 16;
        let many = watchers.held_by(&account).saturating_sub(AT_ONCE);
        Duration::from_millis(many.saturating_mul(10)).min(SLOWEST)
    }

    /// How long a request that waits for something pauses between two looks.
    pub(crate) fn wait_pace(&self, account: AccountId) -> Duration {
        Self::pace(&self.waits, account)
    }

    /// A turn for one look at the database by whoever watches or waits for an account. Where too many of the account
    /// wait for theirs, it is asked for again later.
    pub(crate) async fn look(&self, account: AccountId) -> Held<Tenant> {
        const LATER: Duration = Duration::from_millis(250);
        loop {
            match self.requests.take(Tenant::Account(account)).await {
                Ok(held) => return held,
                Err(_) => tokio::time::sleep(LATER).await,
            }
        }
    }

    /// A place among the versions that are not ready.
    pub(crate) fn deploy(&self, account: AccountId) -> Result<Held<AccountId>, Problem> {
        self.deploys.try_take(account, 1).map_err(|over| over.problem("deploys that are not ready yet"))
    }

    /// A turn for writing many rows at once. Others' requests wait for the end of it.
    pub(crate) async fn array(&self, account: AccountId) -> Result<Held<AccountId>, Problem> {
        self.arrays.take(account).await.map_err(|over| over.problem("job arrays that are submitted at once"))
    }
}

/// A request's turn at the database; it ends with the last of its clones, or earlier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn(Option<Arc<OneTurn>>);

#[derive(Debug)]
struct OneTurn {
    shares: Shares<Tenant>,
    tenant: Tenant,
    wait_max: Duration,
    held: Mutex<Option<Held<Tenant>>>,
}

impl Turn {
    /// It is over: what comes now waits for something else.
    pub(crate) fn end(&self) {
        let held = self.0.as_ref().and_then(|turn| turn.held.lock().take());
        drop(held);
    }

    /// Its next turn, where it has none.
    pub(crate) async fn begin(&self) -> Result<(), Problem> {
        let Some(turn) = self.0.as_ref().filter(|turn| turn.held.lock().is_none()) else { return Ok(()) };
        let held = tokio::time::timeout(turn.wait_max, turn.shares.take(turn.tenant)).await.unwrap_or(Err(Over::Share));
        let held = held.map_err(|over| over.problem(TURNS))?;
        *turn.held.lock() = Some(held);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_in_the_list_of_bounds_is_there() {
        let command = <Config as clap::Args>::augment_args(clap::Command::new("control-plane"));
        let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let rows = fabric::shares::documented(include_str!("../../docs/bounds.md"), "control-plane");
        assert!(!rows.is_empty());
        for named in rows.iter().flat_map(|row| row.split('`')).filter_map(|word| word.strip_prefix("--")) {
            assert!(options.contains(&named), "docs/bounds.md names --{named}");
        }
    }

    #[test]
    fn a06_the_table_is_as_documented() {
        let rows: Vec<String> = all(&Config::default()).iter().map(Finite::row).collect();
        assert_eq!(fabric::shares::documented(include_str!("../../ARCHITECTURE.md"), "control-plane"), rows);
    }

    #[tokio::test]
    async fn a06_a_request_whose_body_is_on_its_way_holds_up_nobody() {
        let config = Config { requests_max: Some(1), ..Config::default() };
        let (bounds, slow, other) = (Bounds::new(&config), AccountId::new(), AccountId::new());
        let turn = bounds.request(Tenant::Account(slow)).await.unwrap();
        turn.end();
        let held = bounds.request(Tenant::Account(other)).await.unwrap();
        let mut again = std::pin::pin!(turn.begin());
        assert!(futures::poll!(again.as_mut()).is_pending());
        drop(held);
        again.await.unwrap();
    }

    #[tokio::test]
    async fn a06_nobody_looks_without_a_turn() {
        let config = Config { requests_max: Some(1), requests_waiting_max: 1, ..Config::default() };
        let (bounds, account) = (Bounds::new(&config), AccountId::new());
        let turn = bounds.request(Tenant::Account(account)).await.unwrap();
        let mut waits = std::pin::pin!(bounds.look(account));
        let mut finds_no_place = std::pin::pin!(bounds.look(account));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        assert!(futures::poll!(finds_no_place.as_mut()).is_pending());
        turn.end();
        drop(waits.await);
        drop(finds_no_place.await);
    }

    #[tokio::test]
    async fn a06_who_was_refused_is_refused_from_memory_while_the_share_is_full() {
        let config = Config { requests_max: Some(1), requests_waiting_max: 4, ..Config::default() };
        let (bounds, account) = (Bounds::new(&config), Tenant::Account(AccountId::new()));
        let (asker, other) = (Asker::of("key", None), Asker::of("another key", None));
        let turn = bounds.request_of(asker, account).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut one = Box::pin(bounds.request_of(asker, account));
            assert!(futures::poll!(one.as_mut()).is_pending());
            waiting.push(one);
        }
        bounds.refuse_again(&asker).expect("nobody was refused yet");
        let refused = bounds.request_of(asker, account).await.unwrap_err();
        assert_eq!(refused.code, protocol::Code::ShareExceeded);
        assert_eq!(bounds.refuse_again(&asker).unwrap_err(), refused, "in the same words");
        bounds.refuse_again(&other).expect("it is not known whose it is");
        drop(waiting);
        bounds.refuse_again(&asker).expect("it may wait now");
        drop(turn);
        bounds.refuse_again(&asker).expect("it may go now");
    }

    #[test]
    fn a06_many_that_watch_look_a_hundred_times_a_second_together() {
        let (shares, account) = (log_streams(&Config::default()).shares(), AccountId::new());
        let one = shares.try_take(account, 1).unwrap();
        assert_eq!(Bounds::pace(&shares, account), Duration::ZERO, "a few look at once");
        let more: Vec<_> = std::iter::from_fn(|| shares.try_take(account, 1).ok()).collect();
        assert_eq!(Bounds::pace(&shares, account), Duration::from_millis(1760));
        drop((one, more));
    }
}
