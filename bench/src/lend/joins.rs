//! From the command to online, beside a machine that has joined before; and from the owner's word to the end of the machine's
//! connection, while calls come.

use std::time::{Duration, Instant};

use anyhow::ensure;
use protocol::node::NodeState;
use tokio::task::JoinSet;

use super::account::Account;
use super::lender::Lender;
use super::{Found, STRICT};
use crate::checks::{Bound, Check, Goal};
use crate::figures::Figure;
use crate::http::{Connection, Target};
use crate::{Options, say};

const ONLINE_MAX_S: f64 = 5.0;
const CUT_MAX_S: f64 = 1.0;
/// What is not cut by then is not cut.
const CUT_WITHIN: Duration = Duration::from_secs(10);
/// The machine's program hears that it is no node any more, and ends.
const ENDED_WITHIN: Duration = Duration::from_secs(30);
/// Calls at once while a machine is revoked.
const CALLERS: usize = 4;

/// Measures it, with a new machine in each round. The function is called nowhere else.
pub(super) async fn measure(account: &Account<'_>, target: &Target, options: &Options) -> anyhow::Result<Found> {
    let (mut joined, mut again, mut cut, mut ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut refused = 0;
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}: a machine joins, comes again, is revoked", options.rounds));
        let mut lender = Lender::new(account, &format!("join-{round}"), STRICT)?;
        joined.push(until_online(account, &mut lender).await?);
        lender.stop().await?;
        account.until(lender.node, NodeState::Offline).await?;
        again.push(until_online(account, &mut lender).await?);

        account.come_from(target, lender.node).await?;
        let callers = callers(target);
        let (closed, began) = (lender.relay.closed(), Instant::now());
        let is_cut = async {
            lender.relay.cut_after(closed, CUT_WITHIN).await?;
            anyhow::Ok(began.elapsed())
        };
        let (revoked, is_cut) = tokio::join!(account.revoke(lender.node), is_cut);
        revoked?;
        cut.push(is_cut?.as_secs_f64());
        ensure!(lender.ends(ENDED_WITHIN).await?, "a machine that was revoked ends as if nothing were wrong");
        ended.push(began.elapsed().as_secs_f64());
        drop(callers);
        lender.start()?;
        refused += u32::from(lender.ends(ENDED_WITHIN).await?);
    }
    let joined = Figure::new("lend, a new machine", "join_to_online_seconds", None, joined);
    let again = Figure::new("lend, joined before", "start_to_online_seconds", None, again);
    let cut = Figure::new("revoked while calls come", "revoke_to_cut_seconds", None, cut);
    let ended = Figure::new("revoked while calls come", "revoke_to_end_of_process_seconds", None, ended);
    let goals = vec![
        Goal::new("join to online, seconds", Bound::AtMost, ONLINE_MAX_S, joined.median),
        Goal::new("revoke to cut, seconds, the slowest", Bound::AtMost, CUT_MAX_S, cut.max),
    ];
    let checks = vec![Check::new(
        "a machine that was revoked is refused when it comes again",
        refused == options.rounds,
        format!("{refused} of {}", options.rounds),
    )];
    let ratio = joined.over(&again, "to_online_ratio");
    Ok(Found { figures: vec![joined, again, ratio, cut, ended], goals, checks })
}

async fn until_online(account: &Account<'_>, lender: &mut Lender) -> anyhow::Result<f64> {
    let began = Instant::now();
    lender.start()?;
    account.until(lender.node, NodeState::Online).await?;
    Ok(began.elapsed().as_secs_f64())
}

/// One call after the other, whatever comes of them.
fn callers(target: &Target) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let target = target.clone();
        callers.spawn(async move {
            while let Ok(mut connection) = Connection::open(target.address).await {
                while connection.send(&target).await.is_ok() {}
            }
        });
    }
    callers
}
