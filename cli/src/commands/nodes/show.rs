//! One node in full, and what its owner and the operator say of it.

use protocol::api::{ConfirmNode, Node, NodeCheck, NodeDetails, Vouch};
use protocol::node::{CapUse, CheckOutcome, Lending, Missing};
use protocol::{Field, Name, NodeId, words};

use super::operator::Asking;
use super::{confined, named, state, vm, wish};
use crate::args::Credentials;
use crate::client::{Client, segment};
use crate::commands::login::log_in;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{connection, fields, micros, table, time};
use crate::prompt;

/// Checks that are shown to people.
const CHECKS_SHOWN: usize = 10;

/// `nodes show`
pub(super) async fn show(context: &Context, client: &Client, node: &str) -> Result<(), Failure> {
    let details = named::find(client, node).await?;
    context.output.result(&details, || text(&details))
}

/// `nodes confirm`
pub(super) async fn confirm(
    context: &Context,
    node: &str,
    fingerprint: Option<String>,
    credentials: Credentials,
) -> Result<(), Failure> {
    let session = session(context, credentials).await?;
    let confirmed = send_confirmed(context, &session, node, fingerprint).await;
    drop(session.delete("/sessions/current").await);
    let details = confirmed?;
    let told = || format!("confirmed {}: versions with `placement = \"own\"` may go there", details.node.name);
    context.output.result(&details, told)
}

async fn send_confirmed(
    context: &Context,
    session: &Client,
    node: &str,
    fingerprint: Option<String>,
) -> Result<NodeDetails, Failure> {
    let found = named::find(session, node).await?.node;
    let asked = format!("Fingerprint that `crowdcloud lend` shows on {}", found.name);
    let fingerprint = prompt::value(&context.output, fingerprint, &asked, "--fingerprint FINGERPRINT")?;
    let path = format!("/nodes/{}/confirm", segment(&found.id.to_string()));
    session.post(&path, &ConfirmNode { name: found.name, fingerprint }).await
}

/// `nodes vouch`
pub(super) async fn vouch(
    context: &Context,
    whom: &str,
    (whole_account, withdraw): (bool, bool),
    credentials: Credentials,
) -> Result<(), Failure> {
    let asking = Asking::operator(context, credentials).await?;
    let vouched = send_vouch(&asking.client, whom, whole_account, withdraw).await;
    let vouch = asking.end(vouched).await?;
    let told = if withdraw { "vouch withdrawn: " } else { "vouched for " };
    context.output.result(&vouch, || format!("{told}{whom}"))
}

/// For whom it vouched.
async fn send_vouch(session: &Client, whom: &str, whole_account: bool, withdraw: bool) -> Result<Vouch, Failure> {
    let vouch = match whom.parse::<NodeId>() {
        Ok(node) => Vouch { node: Some(node), account: None, withdraw },
        Err(_) => {
            let mut called = if whole_account { Vec::new() } else { named::called(session, whom).await? };
            called.retain(|node| !node.state.is_gone());
            meant(whom, &called, withdraw)?
        }
    };
    let request = session.api(reqwest::Method::POST, "/nodes/vouch")?;
    match session.send(request.json(&vouch)).await {
        Ok(_) => Ok(vouch),
        Err(failure) if vouch.node.is_some() && failure.field() == Some(&Field::from("account")) => {
            Err(failure.help("name the node by its id, or add --whole-account: crowdcloud nodes list --as-operator"))
        }
        Err(failure) => Err(failure),
    }
}

/// Whoever lends chooses the node's name: where it may be an account's, the platform refuses it if there is that account.
fn meant(whom: &str, called: &[Node], withdraw: bool) -> Result<Vouch, Failure> {
    let account = whom.parse::<Name>();
    if called.is_empty() {
        let neither = format!("{whom} is neither an account's name nor a node's name or id");
        let account = account.map_err(|why| Failure::usage(neither).why(why))?;
        return Ok(Vouch { node: None, account: Some(account), withdraw });
    }
    let node = named::only_node(called, whom)?;
    Ok(Vouch { node: Some(node), account: account.ok(), withdraw })
}

/// A log-in, for the account that is asked for.
async fn session(context: &Context, credentials: Credentials) -> Result<Client, Failure> {
    let (_, session) = log_in(context, credentials).await?;
    Ok(match context.wanted_account() {
        Some(account) => session.acting_for(account),
        None => session,
    })
}

fn text(details: &NodeDetails) -> String {
    let node = &details.node;
    let mut rows = vec![
        ("node", format!("{} ({})", node.name, node.id)),
        ("state", state(node)),
        ("connection", connection(node.state.reports()).to_owned()),
        ("joined", time(details.joined)),
    ];
    if let Some(since) = details.since.filter(|_| !node.state.is_member()) {
        let by = details.by.as_ref().map(|by| format!(", by {by}"));
        rows.push(("since", format!("{}{}", time(since), by.unwrap_or_default())));
    }
    if !details.same_machine.is_empty() {
        let others: Vec<String> = details.same_machine.iter().map(ToString::to_string).collect();
        rows.push(("same machine", others.join(", ")));
    }
    rows.extend(node.last_seen.map(|at| ("last seen", time(at))));
    rows.extend(details.fingerprint.clone().map(|fingerprint| ("fingerprint", fingerprint)));
    rows.push(("confirmed", details.confirmed.map_or_else(|| "no".to_owned(), time)));
    rows.extend(trust(details));
    let lanes = node.lanes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    rows.push(("lanes", format!("{lanes} ({})", node.arch)));
    rows.push(("vm", vm(node.vm.as_ref())));
    rows.push(("confined", confined(node.confinement.as_ref())));
    rows.extend(details.turns_per_ms.map(|turns| ("speed", format!("{turns} turns/ms, as measured"))));
    rows.push(("load", format!("{:.0} % of {}", node.load * 100.0, words::count(node.cores, "core"))));
    rows.push(("runs", format!("{}/{}", node.running, node.slots)));
    rows.push(("memory free", format!("{}/{}", node.memory_free, node.memory)));
    match &details.now {
        Some(status) => rows.extend(wish::rows(status, details.agreed.as_ref())),
        None => rows.extend(details.lending.as_ref().into_iter().flat_map(caps)),
    }
    let mut text = fields(&rows);
    if !details.checks.is_empty() {
        text.push_str("\n\n");
        let checks = details.checks.iter().take(CHECKS_SHOWN).map(check);
        text.push_str(&table(["checked", "result", "took", "why"], checks));
    }
    text
}

/// Its level, what it lacks for the next one, and how often it answers.
fn trust(details: &NodeDetails) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    rows.extend(details.node.level.map(|level| ("trust", level.to_string())));
    rows.extend(details.lied.map(|at| ("caught", time(at))));
    rows.extend(details.missing.iter().map(missing));
    let availability = &details.availability;
    if availability.asked > 0 {
        rows.push(("answered", format!("{} of {}", availability.answered, words::count(availability.asked, "check"))));
    }
    rows
}

/// What it lacks for the next level.
fn missing(missing: &Missing) -> (&'static str, String) {
    const NEXT: &str = "for next level";
    match missing {
        Missing::Checks { agreed, needed } => ("checks agreed", format!("{agreed} of {needed}")),
        Missing::Age { until } => (NEXT, format!("it joined less than a day ago, until {}", time(*until))),
        Missing::ProvenFor { until } => {
            (NEXT, format!("it has been proven for less than 30 days, until {}", time(*until)))
        }
        Missing::OperatorChecks { .. } | Missing::Vouch | Missing::Honesty => (NEXT, missing.to_string()),
    }
}

fn caps(lending: &Lending) -> Vec<(&'static str, String)> {
    let cap = |name: &'static str, of: Option<CapUse>| {
        let of = of?;
        Some((name, of.max.map_or_else(|| of.used.to_string(), |max| format!("{}/{max}", of.used))))
    };
    let egress = if lending.egress { "on" } else { "off" };
    let rows = [cap("disk", lending.disk), cap("traffic", lending.traffic), Some(("egress", egress.to_owned()))];
    rows.into_iter().flatten().collect()
}

fn check(check: &NodeCheck) -> [String; 4] {
    let took = check.wall_us.map(micros).unwrap_or_default();
    let outcome = match check.outcome {
        CheckOutcome::Differed => "wrong",
        other => other.as_str(),
    };
    [time(check.at), outcome.to_owned(), took, check.detail.clone().unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use protocol::node::NodeState;

    use super::*;

    fn attic() -> NodeDetails {
        serde_json::from_value(serde_json::json!({
            "id": "node_01930000000070008000000000000002",
            "name": "attic",
            "state": "online",
            "class": "any",
            "level": "new",
            "arch": "x86_64",
            "lanes": ["wasm"],
            "cores": 2,
            "memory": "1073741824",
            "memory_free": "1073741824",
            "load": 0.25,
            "slots": 8,
            "running": 0,
            "last_seen": null,
            "fingerprint": "3f2a-91c0-77de-0b42-aa10",
            "joined": "2026-11-22T08:43:00Z",
            "vouched": false,
            "missing": [{"what": "checks", "agreed": 3, "needed": 20}, {"what": "vouch"}],
            "availability": {"asked": 4, "answered": 3},
            "lending": {"egress": false, "disk": {"max": "1048576", "used": "1024"}},
            "checks": [{
                "run": "run_01930000000070008000000000000009",
                "at": "2026-11-22T08:43:10Z",
                "outcome": "agreed",
                "wall_us": 44_000
            }]
        }))
        .unwrap()
    }

    #[test]
    fn a_node_is_told_with_what_it_lacks() {
        let text = text(&attic());
        for part in [
            "attic",
            "state           online\nconnection      connected\n",
            "3f2a-91c0",
            "checks agreed   3 of 20",
            "for next level",
            "does not vouch",
            "3 of 4 checks",
            "off",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_node_that_was_revoked_is_told_with_when_and_by_whom() {
        let mut details = attic();
        details.node.state = NodeState::Revoked;
        details.since = Some(details.joined);
        let unknown = text(&details);
        assert!(unknown.contains("revoked") && !unknown.contains("by ada"), "{unknown}");
        details.by = Some("ada@example.org".to_owned());
        let told = text(&details);
        assert!(told.contains(&format!("{}, by ada@example.org", time(details.joined))), "{told}");
    }

    #[test]
    fn a_vouch_for_a_name_is_for_the_node_only_where_no_account_is_called_so() {
        let one = attic().node;
        let id = one.id;
        let vouch = meant("attic", std::slice::from_ref(&one), false).unwrap();
        assert_eq!((vouch.node, vouch.account.map(|name| name.to_string())), (Some(id), Some("attic".to_owned())));
        let vouch = meant("The attic", std::slice::from_ref(&one), true).unwrap();
        assert_eq!((vouch.node, vouch.account, vouch.withdraw), (Some(id), None, true));
        let vouch = meant("ada", &[], false).unwrap();
        assert_eq!((vouch.node, vouch.account.map(|name| name.to_string())), (None, Some("ada".to_owned())));
        let other = Node { id: NodeId::new(), ..one.clone() };
        assert!(meant("attic", &[one, other], false).is_err() && meant("The attic", &[], false).is_err());
    }
}
