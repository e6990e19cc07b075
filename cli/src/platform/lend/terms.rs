//! What a lender reads before this machine joins.

use protocol::PlacementClass;
use protocol::node::{JoinToken, TokenTerms};

use crate::commands::lend::status::pauses;
use crate::output::fields;

/// Who earns, what is lent, who could read what, and how it ends.
pub(super) fn text(token: &JoinToken, terms: &TokenTerms, config: &executor::Config) -> String {
    let account = terms.account.as_deref().map_or("the operator's, once there is one".to_owned(), str::to_owned);
    let of = |name: Option<&str>| name.unwrap_or("no limit").to_owned();
    // More than artifacts and images may have is not used.
    let both = config.cache.saturating_add(config.images);
    let disk = config.disk.map_or(both, |disk| disk.min(both));
    let traffic = config.traffic.map(|size| format!("{size} a month"));
    let rows = [
        ("platform", token.origin.clone()),
        ("its key", token.root.to_string()),
        ("account that earns", account),
        ("name", terms.name.clone().unwrap_or_else(|| config.name.clone())),
        ("folder", format!("{}, with its keys, cache and receipts", config.data.display())),
        ("ports", "none is opened; this machine connects to the platform".to_owned()),
        ("cores", config.cores.to_string()),
        ("memory", config.memory.to_string()),
        ("disk", disk.to_string()),
        ("traffic", of(traffic.as_deref())),
        ("other hosts", egress(config).to_owned()),
        ("quiet hours", config.quiet_hours.as_ref().map_or("none".to_owned(), ToString::to_string)),
        ("pauses", pauses(config.pause_when_owner_active, config.pause_on_battery)),
    ];
    format!(
        "This machine will be lent:\n\n{}\n\n{}\n{}\n\n{STOP}",
        fields(&rows),
        "Functions run in a sandbox or a virtual machine. They see none of your files, processes and networks.",
        readers(terms.class),
    )
}

const STOP: &str = "Ctrl-C stops it; `crowdcloud lend pause` takes the machine back for a while; `crowdcloud lend leave` \
                    ends it for good,\nand deletes the folder.";

fn egress(config: &executor::Config) -> &'static str {
    match config.no_egress {
        true => "functions connect to none; --egress would let them",
        false => "functions connect to public ones, as versions name them; never to addresses of this network",
    }
}

/// Who could read what runs here.
fn readers(class: PlacementClass) -> &'static str {
    match class {
        PlacementClass::Own => "Only functions of this account run here.",
        PlacementClass::Operator | PlacementClass::Verified | PlacementClass::Any => {
            "Whoever has root on this machine can read what runs on it. Borrowers know that, and choose whether theirs may."
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::node::{Nonce, PublicKey, TokenSeed};
    use protocol::{ByteSize, NodeId, Timestamp, TokenId};

    use super::*;

    #[test]
    fn a_lender_reads_who_earns_what_is_lent_and_how_it_ends() {
        let seed = TokenSeed([2; 32]);
        let token =
            JoinToken::new("http://127.0.0.1:8080".to_owned(), PublicKey([1; 32]), TokenId::new(), seed).unwrap();
        let terms = TokenTerms {
            nonce: Nonce([5; 32]),
            node: NodeId::new(),
            name: Some("attic".to_owned()),
            account: Some("ada".to_owned()),
            class: PlacementClass::Any,
            expires: Timestamp::now(),
        };
        let mut config = executor::Config::new("/srv/node".into(), NodeId::new(), "node");
        (config.cores, config.memory, config.no_egress) = (3, ByteSize::mib(512), true);
        config.traffic = Some(ByteSize::mib(1024));
        config.pause_when_owner_active = true;
        config.quiet_hours = Some("22:00-07:00 UTC".parse().unwrap());
        let said = text(&token, &terms, &config);
        for part in [
            "http://127.0.0.1:8080",
            "ada",
            "attic",
            "/srv/node",
            "ports",
            "512MiB",
            "1GiB a month",
            "connect to none",
            "22:00-07:00 UTC",
            "while you use the machine",
            "can read what runs on it",
            "lend leave",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let nobody = TokenTerms { account: None, ..terms };
        assert!(text(&token, &nobody, &config).contains("operator"));
    }
}
