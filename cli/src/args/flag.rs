//! From a field that a problem names to the flag or argument that gave it.

use clap::{ArgMatches, CommandFactory as _};
use protocol::Field;

use super::Cli;

/// How the command line that was typed gives this field; none where it cannot.
pub(crate) fn of_field(field: &Field, typed: &ArgMatches) -> Option<String> {
    let mut root = Cli::command();
    root.build();
    let (mut command, mut matches) = (&root, typed);
    while let Some((name, inner)) = matches.subcommand() {
        (command, matches) = (command.find_subcommand(name)?, inner);
    }
    // The innermost name that a flag has: of `job.limits.cpus` it is `cpus`, of `labels.stage` it is `label`.
    let names = field.as_str().split(['.', '[']).filter(|name| !name.ends_with(']'));
    let names: Vec<String> = names.map(|name| name.replace('_', "-")).collect();
    let named = names.iter().rev().find_map(|name| {
        let one = name.strip_suffix('s').unwrap_or(name);
        let arg = [name.as_str(), one].into_iter().find_map(|name| {
            command.get_arguments().find(|arg| arg.get_long().unwrap_or(arg.get_id().as_str()) == name)
        })?;
        Some(match arg.get_long() {
            Some(long) => format!("--{long}"),
            None => arg.get_id().as_str().to_uppercase(),
        })
    });
    // What is made has its name from the first argument, whatever that is called.
    let first = || Some(command.get_positionals().next()?.get_id().as_str().to_uppercase());
    named.or_else(|| if field.as_str() == "name" { first() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_flag_of_the_command_that_was_typed() {
        let flag = |line: &str, field: &str| {
            let typed = Cli::command().try_get_matches_from(line.split(' ')).unwrap();
            of_field(&Field::from(field), &typed)
        };
        assert_eq!(flag("crowdcloud deploy x", "limits.cpus").as_deref(), Some("--cpus"));
        assert_eq!(flag("crowdcloud deploy x", "egress[2]").as_deref(), Some("--egress"));
        assert_eq!(flag("crowdcloud jobs submit f", "labels.stage").as_deref(), Some("--label"));
        assert_eq!(flag("crowdcloud jobs submit f", "not_before").as_deref(), Some("--not-before"));
        assert_eq!(flag("crowdcloud jobs submit f", "function").as_deref(), Some("FUNCTION"));
        assert_eq!(flag("crowdcloud jobs list", "cursor").as_deref(), Some("--cursor"));
        assert_eq!(flag("crowdcloud functions create f", "name").as_deref(), Some("FUNCTION"));
        assert_eq!(flag("crowdcloud functions rename f g", "name").as_deref(), Some("NAME"));
        assert_eq!(flag("crowdcloud whoami", "limits.cpus"), None);
    }
}
