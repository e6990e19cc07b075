//! What can be typed, and what is refused.

use super::*;
use clap::CommandFactory as _;

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn f34_advice_can_be_followed() {
    use clap::error::ErrorKind;
    let mut commands = 0;
    for code in protocol::Code::ALL {
        for command in code.help().split('`').filter(|quoted| quoted.starts_with("crowdcloud ")) {
            commands += 1;
            if let Err(error) = Cli::try_parse_from(command.split_whitespace()) {
                // Values of the user's own are left out of an advice, or stand there by their names.
                let open = [ErrorKind::MissingRequiredArgument, ErrorKind::ValueValidation];
                assert!(open.contains(&error.kind()), "{code}: {command}: {error}");
            }
        }
    }
    assert!(commands > 3);
}

#[test]
fn several_executors_are_processes_of_their_own() {
    let parsed = |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command);
    for line in ["up --separate --executors 3 --gateways 2", "up --replicas 2 --executors 3 --control-planes 2"] {
        let Ok(Command::Up(up)) = parsed(&format!("crowdcloud {line}")) else { panic!("{line}") };
        assert!(up.is_separate(), "{line}");
    }
    for line in ["up --executors 3", "up --gateways 2", "up --replicas 0", "up --replicas 9"] {
        assert!(parsed(&format!("crowdcloud {line}")).is_err(), "{line}");
    }
    let Ok(Command::Up(up)) = parsed("crowdcloud up") else { panic!("it is up") };
    assert!(!up.is_separate() && up.replicas == 1);
    let both = "crowdcloud gateway --connect nats://h --credentials c --lenders-credentials l --listen 127.0.0.1:1 --spool s \
                --store-nodes --store-dir d";
    let refused = parsed(both).err().unwrap();
    assert_eq!(refused.kind(), clap::error::ErrorKind::ArgumentConflict, "blobs are in one sort of place: {refused}");
}

#[test]
fn the_number_of_copies_is_one_at_least() {
    let parsed = |line: &str| Cli::try_parse_from(line.split_whitespace()).is_ok();
    assert!(parsed("crowdcloud store copies 2") && parsed("crowdcloud store forget /mnt/a"));
    assert!(!parsed("crowdcloud store copies 0") && !parsed("crowdcloud store copies 17"));
}

#[test]
fn versions_of_a_function_need_no_verb() {
    let cli = Cli::try_parse_from(["crowdcloud", "versions", "thumbs", "--json"]).unwrap();
    assert!(cli.global.json);
    assert!(matches!(cli.command, Command::Versions { function: Some(name), verb: None } if name == "thumbs"));
}

#[test]
fn lend_joins_and_its_verbs_speak_to_a_node() {
    let lend = |line: &str| match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Lend(lend) => lend,
        other => panic!("{other:?}"),
    };
    let join = lend("crowdcloud lend --token ccl1_x --yes --cores 1 --data /d --no-vm");
    assert!(
        join.is_node() && join.start.no_vm == Some(true) && join.start.token.is_some() && join.which.data.is_some()
    );
    assert!(lend("crowdcloud lend").is_node() && lend("crowdcloud lend leave --data /d").is_node());
    for verb in ["status --watch", "pause --for 2h", "resume", "drain", "caps", "caps set --cores 1"] {
        let spoken = lend(&format!("crowdcloud lend {verb} --data /d --node local-1"));
        assert!(!spoken.is_node() && spoken.which.data.is_some(), "{verb}");
    }
}

#[test]
fn caps_that_no_machine_has_are_refused_with_their_flag_and_range() {
    let said = |line: String| Cli::try_parse_from(line.split_whitespace()).err().unwrap().to_string();
    for (flag, range) in [
        ("--cores 0", "1 to"),
        ("--cores 5000", "1 to"),
        ("--memory 0", "16MiB to"),
        ("--memory 9000TiB", "16MiB to"),
        ("--disk 0", "64MiB or more"),
        ("--traffic 0", "1MiB or more"),
    ] {
        for verb in ["", "caps set"] {
            let said = said(format!("crowdcloud lend {verb} {flag}"));
            let (name, _) = flag.split_once(' ').unwrap();
            assert!(said.contains(name) && said.contains(range), "{said}");
        }
    }
}

#[test]
fn a_pause_lasts() {
    for line in ["crowdcloud lend pause --for", "crowdcloud nodes pause attic --for"] {
        let parse = |lasts: &str| Cli::try_parse_from(format!("{line} {lasts}").split_whitespace());
        assert!(parse("1ms").is_ok());
        let said = parse("0s").err().unwrap().to_string();
        assert!(said.contains("--for") && said.contains("more than 0s"), "{said}");
    }
}

#[test]
fn egress_is_lent_where_it_is_said_and_local_nodes_have_it() {
    let command = |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command);
    let lend = |line: &str| match command(line).unwrap() {
        Command::Lend(lend) => lend.start.egress == Some(true),
        other => panic!("{other:?}"),
    };
    assert!(!lend("crowdcloud lend") && lend("crowdcloud lend --egress"));
    let up = |line: &str| match command(line).unwrap() {
        Command::Up(up) => up.no_egress,
        other => panic!("{other:?}"),
    };
    assert!(!up("crowdcloud up") && up("crowdcloud up --no-egress"));
    assert!(command("crowdcloud lend --no-egress").is_err() && command("crowdcloud up --egress").is_err());
}
