//! What a node says is checked here before anybody keeps, shows or reckons with it: numbers in range, texts short and
//! printable, lists short.

use std::fmt;

use super::{Caps, Confinement, DISKS_MAX, Hello, NodeReport, NodeStatus, Probe, StoreDisk, VmLane};
use crate::manifest::Lane;
use crate::text::is_hidden;
use crate::units::ByteSize;

/// Bytes of a report.
pub const REPORT_BYTES_MAX: usize = 128 << 10;
/// Artifacts that a report lists as loaded.
pub const WARM_MAX: usize = 512;
/// Artifacts that a report lists as being on disk.
pub const CACHED_MAX: usize = 256;
/// Bytes of a text for people.
pub const TEXT_BYTES_MAX: usize = 500;
/// Bytes of a name, of an architecture for example.
const NAME_BYTES_MAX: usize = 60;
/// Reasons for a pause that hold at once.
const REASONS_MAX: usize = 16;
/// Texts of quiet hours.
const HOURS_MAX: usize = 16;
/// Cores of one machine.
const CORES_MAX: u32 = 4096;
/// Runs at once on one machine.
const SLOTS_MAX: u32 = 1 << 16;
/// Memory of one machine.
const MEMORY_MAX: ByteSize = ByteSize(64 << 40);

/// What a node said and cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The field, where it is known.
    pub field: Option<&'static str>,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    fn of(field: &'static str, why: &str) -> Self {
        Self { field: Some(field), why: why.to_owned() }
    }

    fn whole(why: impl Into<String>) -> Self {
        Self { field: None, why: why.into() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "`{field}` {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for Malformed {}

impl NodeReport {
    /// A report from the wire, checked.
    ///
    /// # Errors
    /// Anything that no honest node says.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > REPORT_BYTES_MAX {
            return Err(Malformed::whole(format!("the report is larger than {REPORT_BYTES_MAX} bytes")));
        }
        let report: Self = crate::wire::read(bytes).map_err(|error| Malformed::whole(error.to_string()))?;
        report.check()?;
        Ok(report)
    }

    /// Whether each field can be true.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), Malformed> {
        if self.v != Self::VERSION {
            return Err(Malformed::of("v", "is a form that is not known"));
        }
        // Not a number is in no range.
        if !(0.0..=1.0).contains(&self.load) {
            return Err(Malformed::of("load", "is not a number from 0 to 1"));
        }
        machine(self.cores, self.slots, self.memory_total, &self.lanes)?;
        if self.memory_free > self.memory_total {
            return Err(Malformed::of("memory_free", "is more than `memory_total`"));
        }
        if self.running > self.slots {
            return Err(Malformed::of("running", "is more than `slots`"));
        }
        name("arch", &self.arch)?;
        if self.warm.len() > WARM_MAX {
            return Err(Malformed::of("warm", "lists too many artifacts"));
        }
        if self.cached.len() > CACHED_MAX {
            return Err(Malformed::of("cached", "lists too many artifacts"));
        }
        if self.lists.is_some() && !(self.warm.is_empty() && self.cached.is_empty()) {
            return Err(Malformed::of("lists", "stands beside lists"));
        }
        confinement(self.confinement.as_ref())?;
        match &self.vm {
            Some(VmLane::Missing { why }) => text("vm.why", why, TEXT_BYTES_MAX),
            Some(VmLane::Starting | VmLane::Ready { .. }) | None => Ok(()),
        }
    }
}

impl Hello {
    /// Whether each field can be true. (Keys and versions are for whoever uses them.)
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), Malformed> {
        machine(self.cores, self.slots, self.memory, &self.lanes)?;
        name("arch", &self.arch)?;
        name("os", &self.os)?;
        name("software", &self.software)?;
        confinement(self.confinement.as_ref())?;
        text("name", &self.name, TEXT_BYTES_MAX)?;
        disks(&self.disks)?;
        self.agreed.as_ref().map_or(Ok(()), |agreed| caps("agreed", agreed))
    }
}

impl NodeStatus {
    /// Whether each field can be true.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), Malformed> {
        caps("caps", &self.caps)?;
        if self.paused.len() > REASONS_MAX {
            return Err(Malformed::of("paused", "lists too many reasons"));
        }
        if self.quiet_hours.len() > HOURS_MAX {
            return Err(Malformed::of("quiet_hours", "lists too many"));
        }
        self.quiet_hours.iter().try_for_each(|hours| text("quiet_hours", hours, TEXT_BYTES_MAX))?;
        text("today.day", &self.today.day, NAME_BYTES_MAX)
    }
}

fn confinement(told: Option<&Confinement>) -> Result<(), Malformed> {
    match told {
        Some(Confinement::Partial { missing } | Confinement::None { missing }) => {
            text("confinement.missing", missing, TEXT_BYTES_MAX)
        }
        Some(Confinement::Full) | None => Ok(()),
    }
}

fn disks(told: &[StoreDisk]) -> Result<(), Malformed> {
    if told.len() > DISKS_MAX {
        return Err(Malformed::of("disks", "lists too many"));
    }
    if told.iter().enumerate().any(|(at, disk)| told[..at].iter().any(|before| before.id == disk.id)) {
        return Err(Malformed::of("disks", "names a disk twice"));
    }
    if told.iter().any(|disk| disk.domain.is_empty()) {
        return Err(Malformed::of("disks.domain", "is empty"));
    }
    told.iter().try_for_each(|disk| text("disks.domain", &disk.domain, TEXT_BYTES_MAX))
}

pub(super) fn probe(probe: &Probe) -> Result<(), Malformed> {
    machine(probe.cores, probe.slots, probe.memory, &probe.lanes)?;
    name("arch", &probe.arch)?;
    name("os", &probe.os)?;
    name("software", &probe.software)?;
    text("name", &probe.name, TEXT_BYTES_MAX)
}

/// A text for people as it may stand in a report: one line, short, without control characters.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
    if line.len() > TEXT_BYTES_MAX {
        let cut = (0..=TEXT_BYTES_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(cut);
    }
    line
}

fn machine(cores: u32, slots: u32, memory: ByteSize, lanes: &[Lane]) -> Result<(), Malformed> {
    if cores == 0 || cores > CORES_MAX {
        return Err(Malformed::of("cores", "is no number of cores of a machine"));
    }
    if slots > SLOTS_MAX {
        return Err(Malformed::of("slots", "is more than a machine runs at once"));
    }
    if memory > MEMORY_MAX {
        return Err(Malformed::of("memory", "is more than a machine has"));
    }
    if lanes.iter().enumerate().any(|(at, lane)| lanes[..at].contains(lane)) {
        return Err(Malformed::of("lanes", "names a lane twice"));
    }
    Ok(())
}

fn caps(field: &'static str, caps: &Caps) -> Result<(), Malformed> {
    if caps.cores == 0 || caps.cores > CORES_MAX || caps.memory > MEMORY_MAX {
        return Err(Malformed::of(field, "is more than a machine has"));
    }
    Ok(())
}

/// A name of a machine's: it goes to terminals and pages.
fn name(field: &'static str, name: &str) -> Result<(), Malformed> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::of(field, "is not a short name"));
    }
    Ok(())
}

fn text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Malformed> {
    if text.len() > bytes_max {
        return Err(Malformed::of(field, "is too long"));
    }
    if !text.chars().all(is_printable) {
        return Err(Malformed::of(field, "has control characters"));
    }
    Ok(())
}

/// Whether it can be seen by itself.
fn is_printable(c: char) -> bool {
    !is_hidden(c, None)
}
