//! The grammar of lending: how this machine joins, what is lent of it, and what its owner says to its node later.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lending::{QuietHours, Wish};
use protocol::node::{self, CapsWish};
use protocol::{ByteSize, Millis};
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "Examples:
  crowdcloud lend --token ccl1_...                  join a platform, and work for it until Ctrl-C
  crowdcloud lend --token ccl1_... --install        join, and lend as a service from each start of the machine on
  crowdcloud lend --cores 2 --quiet-hours \"Mon-Fri 08:00-18:00 Europe/Berlin\"
  crowdcloud lend --egress --traffic 100GiB         functions may connect to other hosts, too
  crowdcloud lend status --watch                    what runs, each cap with its use, why it is paused
  crowdcloud lend pause --for 2h                    take the machine back for two hours
  crowdcloud lend caps set --cores 1 --egress off   lend less from now on
  crowdcloud lend leave                             for good; takes away all that lending put here";

/// Where `--help` lists what is lent.
pub(crate) const LENT: &str = "What this machine lends";

/// `lend`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Lend {
    #[command(flatten)]
    pub(crate) which: LocalNode,
    #[command(flatten)]
    pub(crate) start: LendStart,
    #[command(subcommand)]
    pub(crate) verb: Option<LendVerb>,
}

impl Lend {
    /// Whether it joins, works or leaves itself, where the other verbs speak to a node that runs.
    pub(crate) fn is_node(&self) -> bool {
        matches!(self.verb, None | Some(LendVerb::Leave { .. }))
    }
}

/// `lend` without a verb
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct LendStart {
    /// The token, of the portal or of `crowdcloud nodes tokens create`; needed once
    #[arg(long, env = "CROWDCLOUD_LEND_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The machine's name, where the token has none (node)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) lent: LentFlags,
    /// Let functions connect to other hosts, from this machine's address; =off no longer
    #[arg(long, help_heading = LENT, value_name = "WHETHER", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", value_parser = switch)]
    pub(crate) egress: Option<bool>,
    /// No VM lane, whatever the machine has; =off lends it again
    #[arg(long, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "on",
        value_parser = switch)]
    pub(crate) no_vm: Option<bool>,
    /// Lend it although its kernel cannot hold back a guest that breaks out of its sandbox; borrowers see that
    #[arg(long)]
    pub(crate) unconfined: bool,
    /// Write a service of systemd that lends it from each start of the machine on, instead of lending it now
    #[arg(long)]
    pub(crate) install: bool,
    /// Only show the service, where it would be written and how it would be started
    #[arg(long, requires = "install")]
    pub(crate) dry_run: bool,
    /// The folder for it (/etc/systemd/system for root, else systemd/user in the folder for configuration)
    #[arg(long, hide = true, requires = "install", value_name = "DIR")]
    pub(crate) unit_folder: Option<PathBuf>,
    /// Join although a proxy in between reads what this machine and the platform say
    #[arg(long)]
    pub(crate) behind_proxy: bool,
}

/// Which node of this machine.
#[derive(Debug, Clone, Args)]
pub(crate) struct LocalNode {
    /// The folder of this machine's node; for verbs also that of `crowdcloud up`
    #[arg(long, global = true, value_name = "DIR", env = "CROWDCLOUD_LEND_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The node, where several run there (local-1)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) node: Option<String>,
}

/// `lend VERB`
#[derive(Debug, Subcommand)]
pub(crate) enum LendVerb {
    /// What runs, each cap with its use, why the node is paused and until when, what it did today
    Status {
        /// Again each second
        #[arg(long)]
        watch: bool,
    },
    /// Take the machine back: nothing new is taken, and what runs is given back
    Pause {
        /// For so long; without it until resumed
        #[arg(long = "for", value_name = "TIME", value_parser = some_time)]
        lasts: Option<Millis>,
    },
    /// Lend the machine again, after `pause` or `drain`
    Resume,
    /// Take nothing new, and finish what runs
    Drain,
    /// The caps in force
    Caps {
        #[command(subcommand)]
        verb: Option<Caps>,
    },
    /// Leave the platform for good, and take away all that lending put on this machine
    Leave {
        /// Only delete the node's folder; a platform that is gone is told nothing
        #[arg(long)]
        forget: bool,
    },
}

/// `lend caps`
#[derive(Debug, Subcommand)]
pub(crate) enum Caps {
    /// Lend less from now on, or as much as was agreed again; to lend more, start the node with other flags
    Set(SetCaps),
}

/// `lend caps set`
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SetCaps {
    /// Cores on which guests compute
    #[arg(long, value_name = "N", value_parser = cores)]
    cores: Option<u32>,
    /// The sum of the limits of all runs at once
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<ByteSize>,
    /// Disk space for compiled artifacts and images
    #[arg(long, value_name = "SIZE", value_parser = disk)]
    disk: Option<ByteSize>,
    /// Traffic of a calendar month; then the node pauses until the month's end
    #[arg(long, value_name = "SIZE", value_parser = traffic)]
    traffic: Option<ByteSize>,
    /// Whether functions may connect to other hosts: on, off
    #[arg(long, value_name = "WHETHER", value_parser = switch)]
    egress: Option<bool>,
    /// When nothing is lent, such as "Mon-Fri 22:00-07:00; Sat,Sun 00:00-24:00 Europe/Berlin"; none takes them away
    #[arg(long, value_name = "HOURS")]
    quiet_hours: Option<QuietHours>,
}

impl SetCaps {
    /// Whether there are to be no quiet hours.
    pub(crate) fn takes_hours_away(&self) -> bool {
        self.quiet_hours.as_ref().is_some_and(QuietHours::is_none)
    }
}

impl From<SetCaps> for Wish {
    fn from(set: SetCaps) -> Self {
        let SetCaps { cores, memory, disk, traffic, egress, quiet_hours } = set;
        Self { caps: CapsWish { cores, memory, disk, traffic, egress }, quiet_hours }
    }
}

/// A time that is not over at once.
pub(super) fn some_time(text: &str) -> Result<Millis, String> {
    match text.parse::<Millis>() {
        Ok(Millis(0)) => Err("expected more than 0s; without --for it is until `resume`".to_owned()),
        Ok(lasts) => Ok(lasts),
        Err(why) => Err(why.to_string()),
    }
}

/// Cores of this machine.
fn cores(text: &str) -> Result<u32, String> {
    let most = executor::machine_cores();
    let cores = text.parse::<u32>().ok().filter(|cores| (1..=most).contains(cores));
    cores.ok_or_else(|| format!("expected 1 to {most}: the machine has {most}"))
}

/// Memory of this machine.
fn memory(text: &str) -> Result<ByteSize, String> {
    let most = executor::machine_memory();
    let memory = text.parse::<ByteSize>().map_err(|why| why.to_string())?;
    match (node::Caps::MEMORY_MIN..=most).contains(&memory) {
        true => Ok(memory),
        false => Err(format!("expected {} to {most}: the machine has {most}", node::Caps::MEMORY_MIN)),
    }
}

/// Disk space; of more than artifacts and images may have, less is used.
fn disk(text: &str) -> Result<ByteSize, String> {
    let disk = text.parse::<ByteSize>().map_err(|why| why.to_string())?;
    if disk < node::Caps::DISK_MIN {
        return Err(format!("expected {} or more", node::Caps::DISK_MIN));
    }
    Ok(disk)
}

/// Traffic of a month.
fn traffic(text: &str) -> Result<ByteSize, String> {
    let traffic = text.parse::<ByteSize>().map_err(|why| why.to_string())?;
    if traffic < node::Caps::TRAFFIC_MIN {
        return Err(format!("expected {} or more; to lend nothing: crowdcloud lend pause", node::Caps::TRAFFIC_MIN));
    }
    Ok(traffic)
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// What is lent of this machine: flags of `lend`, and of `up`, whose nodes get them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = LENT)]
#[serde(default)]
pub(crate) struct LentFlags {
    /// Cores on which guests compute (all)
    #[arg(long, value_name = "N", value_parser = cores)]
    cores: Option<u32>,
    /// The sum of the limits of all runs at once (half of the machine's)
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<ByteSize>,
    /// Disk space for compiled artifacts and images
    #[arg(long, value_name = "SIZE", value_parser = disk)]
    disk: Option<ByteSize>,
    /// Traffic of a calendar month; then the node pauses until the month's end
    #[arg(long, value_name = "SIZE", value_parser = traffic)]
    traffic: Option<ByteSize>,
    /// When nothing is lent, such as "Mon-Fri 22:00-07:00; Sat,Sun 00:00-24:00 Europe/Berlin"; none takes them away
    #[arg(long, value_name = "HOURS")]
    quiet_hours: Option<QuietHours>,
    /// Pause while the machine is busy with something else, or short of memory; =off no longer
    #[arg(long, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "on",
        value_parser = switch)]
    pause_when_owner_active: Option<bool>,
    /// Pause while the machine runs on its battery; =off no longer
    #[arg(long, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "on",
        value_parser = switch)]
    pause_on_battery: Option<bool>,
}

impl LentFlags {
    /// These, and where nothing is said, the others.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            cores: self.cores.or(others.cores),
            memory: self.memory.or(others.memory),
            disk: self.disk.or(others.disk),
            traffic: self.traffic.or(others.traffic),
            quiet_hours: self.quiet_hours.or_else(|| others.quiet_hours.clone()),
            pause_when_owner_active: self.pause_when_owner_active.or(others.pause_when_owner_active),
            pause_on_battery: self.pause_on_battery.or(others.pause_on_battery),
        }
    }

    /// As flags of a node: those with a value, and those without.
    pub(crate) fn of_node(&self) -> (Vec<(&'static str, String)>, Vec<&'static str>) {
        let text = |value: Option<ByteSize>| value.map(|size| size.0.to_string());
        let valued = [
            ("--node-cores", self.cores.map(|cores| cores.to_string())),
            ("--node-memory", text(self.memory)),
            ("--node-disk", text(self.disk)),
            ("--node-traffic", text(self.traffic)),
            ("--quiet-hours", self.quiet_hours.as_ref().map(ToString::to_string)),
        ];
        let plain = [
            ("--pause-when-owner-active", self.pause_when_owner_active == Some(true)),
            ("--pause-on-battery", self.pause_on_battery == Some(true)),
        ];
        let valued = valued.into_iter().filter_map(|(name, value)| Some((name, value?)));
        (valued.collect(), plain.into_iter().filter_map(|(name, set)| set.then_some(name)).collect())
    }
}
