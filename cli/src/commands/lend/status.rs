//! How a node is, for its owner: sizes and times, never whose runs they are.

use lending::control::{CapsUsed, RunShown, Status};
use protocol::ByteSize;

use crate::output::{connection, fields, paused, table, time, today};

/// Everything.
pub(super) fn whole(status: &Status) -> String {
    let mut rows = vec![("node", format!("{} ({})", status.name, status.node)), ("state", said(status))];
    rows.extend(status.connected.map(|is_up| ("connection", connection(is_up).to_owned())));
    rows.extend(lent(status));
    rows.push(("today", today(&status.today.clone().into())));
    rows.push(("running", status.running.to_string()));
    let mut text = fields(&rows);
    if !status.runs.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(["lane", "since", "memory"], status.runs.iter().map(run)));
    }
    text
}

/// Whether it takes runs.
pub(super) fn state(status: &Status) -> String {
    format!("{}: {}", status.name, said(status))
}

/// Each cap with its use, and when nothing is lent.
pub(super) fn caps(status: &Status) -> String {
    fields(&lent(status))
}

fn lent(status: &Status) -> Vec<(&'static str, String)> {
    let mut rows = caps_rows(&status.caps);
    match status.quiet_hours.as_slice() {
        [] => rows.push(("quiet hours", "none".to_owned())),
        all => rows.extend(all.iter().map(|hours| ("quiet hours", hours.clone()))),
    }
    rows.push(("pauses", pauses(status.pauses_when_owner_active, status.pauses_on_battery)));
    rows
}

/// When a node pauses by itself, beside quiet hours.
pub(crate) fn pauses(when_owner_active: bool, on_battery: bool) -> String {
    match (when_owner_active, on_battery) {
        (true, true) => "while you use the machine, and on battery",
        (true, false) => "while you use the machine",
        (false, true) => "on battery",
        (false, false) => "only when you say so",
    }
    .to_owned()
}

fn said(status: &Status) -> String {
    if status.paused.is_empty() {
        return "takes runs".to_owned();
    }
    let reasons: Vec<String> = status.paused.iter().map(|reason| paused(reason.paused)).collect();
    reasons.join("; ")
}

fn caps_rows(caps: &CapsUsed) -> Vec<(&'static str, String)> {
    let of = |used: ByteSize, cap: ByteSize| format!("{used} of {cap}");
    vec![
        ("cores", format!("{} lent; the machine is {:.0}% busy", caps.cores, caps.load * 100.0)),
        ("memory", of(caps.memory_used, caps.memory)),
        ("disk", of(caps.disk_used, caps.disk)),
        (
            "traffic",
            match caps.traffic {
                Some(cap) => format!("{} this month", of(caps.traffic_used, cap)),
                None => format!("{} this month, without a cap", caps.traffic_used),
            },
        ),
        ("egress", if caps.egress { "lent" } else { "not lent" }.to_owned()),
    ]
}

fn run(run: &RunShown) -> [String; 3] {
    [run.lane.to_string(), time(run.since), run.memory.to_string()]
}

#[cfg(test)]
mod tests {
    use lending::Today;
    use protocol::NodeId;

    use super::*;

    #[test]
    fn whether_it_is_connected_has_a_line_of_its_own() {
        let caps = CapsUsed {
            cores: 2,
            load: 0.5,
            memory: ByteSize::mib(64),
            memory_used: ByteSize(0),
            disk: ByteSize::mib(64),
            disk_used: ByteSize(0),
            traffic: None,
            traffic_used: ByteSize(0),
            egress: false,
        };
        let mut status = Status {
            node: NodeId::new(),
            name: "attic".to_owned(),
            connected: Some(true),
            paused: Vec::new(),
            caps,
            quiet_hours: Vec::new(),
            pauses_when_owner_active: false,
            pauses_on_battery: false,
            running: 0,
            runs: Vec::new(),
            today: Today { runs: 2, given_back: 1, ..Today::default() },
        };
        let line = |status: &Status, name: &str| {
            let text = whole(status);
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|line| line.trim().to_owned())
        };
        assert_eq!(line(&status, "state").unwrap(), "takes runs");
        assert_eq!(line(&status, "connection").unwrap(), "connected");
        assert_eq!(line(&status, "today").unwrap(), "2 runs, 0us of CPU, 0B in and out, 1 given back");
        status.connected = Some(false);
        assert_eq!(line(&status, "connection").unwrap(), "not connected");
        status.connected = None;
        assert_eq!(line(&status, "connection"), None, "a node of an earlier version does not say");
    }
}
