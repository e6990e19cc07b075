//! Machines join from their own networks.

use std::time::Duration;

use protocol::node::{JoinToken, PublicKey, TokenSeed};
use tests::wait_until;

use super::{Ground, Machine, PORT};

pub(super) fn machines_join_within_seconds_and_listen_nowhere(ground: &Ground) {
    for (host, name) in [(&ground.attic, "attic-1"), (&ground.cellar, "cellar-1")] {
        let machine = ground.join(host, name, &[]);
        ground.works(&machine);
        assert!(host.connections_to(PORT) > 0);
        assert_eq!(host.listeners(), 0, "{name} waits for connections");
        machine.stop();
    }
    assert!(!ground.office.reaches(Ground::public()), "it is behind a proxy");
    let machine = ground.join_by_proxy("office-1");
    ground.works(&machine);
    assert_eq!(ground.office.listeners(), 0);
    machine.stop();
}

pub(super) fn a_token_is_good_once_and_only_as_it_was_made(ground: &Ground) {
    let token = ground.token("attic-2");
    let made: JoinToken = token.parse().unwrap();
    let forged = JoinToken { seed: TokenSeed(rand::random()), ..made.clone() };
    let of_another = JoinToken { root: PublicKey(rand::random()), ..made };
    let refused = |name: &str, token: &str, code: &str| {
        let command = ground.lend(name, &["--token", token]);
        let mut machine = Machine::start(&ground.cellar, name, command);
        let status = machine.ends(Duration::from_secs(10));
        wait_until(&format!("it says {code}"), Duration::from_secs(2), || machine.said().contains(code));
        assert!(!status.success(), "{}", machine.said());
        assert!(super::node(&ground.ada, name).is_none());
    };
    refused("forged", &forged.to_string(), "node_token_invalid");
    refused("other", &of_another.to_string(), "platform_key");
    // Neither has spent it.
    let machine = Machine::start(&ground.attic, "attic-2", ground.lend("attic-2", &["--token", &token]));
    ground.wait_online(&machine);
    refused("second", &token, "node_token_used");
    machine.stop();
}

/// The token is spent, and the machine has not heard it: it asks again, with the same token and keys.
pub(super) fn a_response_that_was_lost_comes_again(ground: &Ground) {
    let token = ground.token("office-3");
    let start = || {
        let mut command = ground.lend("office-3", &["--token", &token]);
        command.env("HTTPS_PROXY", &ground.proxy.url);
        Machine::start(&ground.office, "office-3", command)
    };
    // Long enough to see that the token is spent before the response has come.
    ground.proxy.delay(Duration::from_millis(500));
    let machine = start();
    wait_until("the token is spent", Duration::from_secs(20), || super::node(&ground.ada, "office-3").is_some());
    ground.proxy.cut();
    ground.proxy.delay(Duration::ZERO);
    drop(machine);
    let kept = ground.data("office-3").join("node.json");
    assert!(!kept.exists(), "the response has come after all");
    let machine = start();
    ground.wait_online(&machine);
    assert!(kept.exists());
    machine.stop();
}
