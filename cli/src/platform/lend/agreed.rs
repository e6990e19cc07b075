//! What the lender has agreed to lend. It is kept in the node's folder: `lend` without flags lends no more than that.

use protocol::NodeId;
use protocol::node::Caps;
use serde::{Deserialize, Serialize};

use super::config;
use super::folder::{Folder, Lent};
use crate::args::{LendStart, LentFlags};
use crate::failure::Failure;
use crate::output::{Output, fields};
use crate::prompt;

/// The flags of `lend` that say what is lent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Agreed {
    name: Option<String>,
    lent: LentFlags,
    egress: Option<bool>,
    no_vm: Option<bool>,
}

impl Agreed {
    pub(super) fn of(start: &LendStart) -> Self {
        Self { name: start.name.clone(), lent: start.lent.clone(), egress: start.egress, no_vm: start.no_vm }
    }

    /// The flags that are given, and where nothing is said, what was agreed.
    fn filled_in(&self, given: LendStart) -> LendStart {
        LendStart {
            name: given.name.or_else(|| self.name.clone()),
            lent: given.lent.or(&self.lent),
            egress: given.egress.or(self.egress),
            no_vm: given.no_vm.or(self.no_vm),
            ..given
        }
    }
}

/// What is lent from now on. Asks where that is more than was agreed, and keeps it.
pub(super) fn renew(output: &Output, given: LendStart, folder: &Folder, lent: &mut Lent) -> Result<LendStart, Failure> {
    let Some(before) = &lent.agreed else {
        lent.agreed = Some(Agreed::of(&given));
        folder.keep(lent)?;
        return Ok(given);
    };
    let start = before.filled_in(given);
    let agreed = Agreed::of(&start);
    if agreed != *before {
        let settings = |start: &LendStart| config(start, folder, NodeId::new(), lent.root);
        let former = settings(&before.filled_in(LendStart::default()))?;
        let more = more(&former, &settings(&start)?);
        if !more.is_empty() {
            output.note(format!("More will be lent than was agreed:\n\n{}\n", fields(&more)));
            prompt::confirm(output, "Lend that much of this machine")?;
        }
        lent.agreed = Some(agreed);
        folder.keep(lent)?;
    }
    Ok(start)
}

/// What is lent more than before.
fn more(before: &executor::Config, after: &executor::Config) -> Vec<(&'static str, String)> {
    let (was, is) = (executor::agreed_caps(before), executor::agreed_caps(after));
    let traffic = |caps: &Caps| caps.traffic.map_or_else(|| "no limit".to_owned(), |size| format!("{size} a month"));
    let hours = |of: &executor::Config| of.quiet_hours.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let more_traffic = was.traffic.is_some_and(|was| is.traffic.is_none_or(|is| is > was));
    let other_hours = before.quiet_hours.as_ref().is_some_and(|hours| !hours.is_none());
    let on = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
    let (active, battery) = ("pauses while you use it", "pauses on battery");
    [
        (is.cores > was.cores, "cores", was.cores.to_string(), is.cores.to_string()),
        (is.memory > was.memory, "memory", was.memory.to_string(), is.memory.to_string()),
        (is.disk > was.disk, "disk", was.disk.to_string(), is.disk.to_string()),
        (more_traffic, "traffic", traffic(&was), traffic(&is)),
        (is.egress && !was.egress, "other hosts", on(was.egress), on(is.egress)),
        (before.no_vm && !after.no_vm, "virtual machines", on(!before.no_vm), on(!after.no_vm)),
        (other_hours && before.quiet_hours != after.quiet_hours, "quiet hours", hours(before), hours(after)),
        (before.pause_when_owner_active && !after.pause_when_owner_active, active, on(true), on(false)),
        (before.pause_on_battery && !after.pause_on_battery, battery, on(true), on(false)),
    ]
    .into_iter()
    .filter(|(is_more, ..)| *is_more)
    .map(|(_, what, was, is)| (what, format!("{is} instead of {was}")))
    .collect()
}

#[cfg(test)]
mod tests {
    use protocol::ByteSize;

    use super::*;

    fn start(flags: &str) -> LendStart {
        let line = format!("crowdcloud lend {flags}");
        match <crate::args::Cli as clap::Parser>::try_parse_from(line.split_whitespace()).unwrap().command {
            crate::args::Command::Lend(lend) => lend.start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_that_are_left_out_are_as_agreed_and_those_given_again_replace_them() {
        let agreed = Agreed::of(&start("--cores 1 --memory 1GiB --traffic 5GiB --pause-when-owner-active --no-vm"));
        let kept: Agreed = serde_json::from_str(&serde_json::to_string(&agreed).unwrap()).unwrap();
        assert_eq!(kept, agreed);
        assert_eq!(Agreed::of(&kept.filled_in(start(""))), agreed);
        let changed = kept.filled_in(start("--cores 2 --pause-when-owner-active=off"));
        let all = start("--cores 2 --memory 1GiB --traffic 5GiB --pause-when-owner-active=off --no-vm");
        assert_eq!(Agreed::of(&changed), Agreed::of(&all));
    }

    #[test]
    fn only_what_lends_more_is_asked_about() {
        let mut before = executor::Config::new("/srv/node".into(), NodeId::new(), "node");
        (before.cores, before.memory, before.no_egress) = (2, ByteSize::mib(512), true);
        before.traffic = Some(ByteSize::mib(1024));
        before.quiet_hours = Some("22:00-07:00 UTC".parse().unwrap());
        let mut less = before.clone();
        (less.cores, less.pause_on_battery) = (1, true);
        assert!(more(&before, &less).is_empty());
        let named: Vec<&str> = more(&less, &before).into_iter().map(|(what, _)| what).collect();
        assert_eq!(named, ["cores", "pauses on battery"]);
        let mut all = before.clone();
        (all.traffic, all.no_egress, all.quiet_hours) = (None, false, Some("none".parse().unwrap()));
        let said = fields(&more(&before, &all));
        for part in ["no limit instead of 1GiB a month", "on instead of off", "none instead of 22:00-07:00 UTC"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
