//! What the end of a machine means for its run.

use std::time::Duration;

use microvm::{End, Ended, Usage};
use protocol::Code;

use super::ports::Ports;
use super::start::LISTEN_WITHIN_MS;
use crate::run::{Record, Verdict};

/// Notes what the machine has used, where it could say it; `before` is what earlier runs used.
pub(super) fn account(usage: Option<&Usage>, before: u64, record: &Record) {
    let Some(usage) = usage else { return };
    record.add_cpu(Duration::from_micros(usage.cpu_us.saturating_sub(before)));
    record.hold_memory(usize::try_from(usage.memory_peak_bytes).unwrap_or(usize::MAX));
    if usage.pids_refused > 0 {
        record.log.platform("the function wanted more processes than it may have");
    }
}

/// A guest that was too busy to say what it has used has used what its machine has.
pub(super) fn guess(ended: &Ended, host_cpu: Option<Duration>, record: &Record) {
    if let (None, Some(cpu)) = (&ended.usage, host_cpu) {
        record.add_cpu(cpu);
    }
}

/// The verdict on a run whose server did not listen as long as the run might take.
pub(super) fn never_listened(ports: &Ports) -> Verdict {
    Verdict::failed(Code::NeverListened, ports.unanswered("within the time limit"))
}

/// The verdict on a run that ended with its machine.
pub(super) fn of(ended: &Ended, ports: &Ports, record: &Record) -> Verdict {
    let failed = |code, detail: String| Verdict::failed(code, detail);
    match &ended.end {
        End::Exited(0) if record.has_answered() => Verdict::succeeded(),
        End::Exited(status) => failed(Code::FunctionExit, format!("exit status {status}")),
        End::Killed(signal) => failed(Code::FunctionExit, format!("killed by signal {signal}")),
        End::OutOfMemory => {
            failed(Code::OutOfMemory, format!("the function needed more than {}", record.limits.memory))
        }
        End::EntryMissing => failed(Code::FunctionExit, "there is no such program in the image".to_owned()),
        End::EntryRefused(errno) => {
            let why = std::io::Error::from_raw_os_error(*errno);
            failed(Code::FunctionExit, format!("the program cannot be started: {why}"))
        }
        End::NeverListened => {
            failed(Code::NeverListened, ports.unanswered(&format!("within {} s", LISTEN_WITHIN_MS / 1000)))
        }
        End::ExitedBeforeListening(status) => {
            let asked = ports.asked;
            let detail = format!("the server ended with status {status} before it listened on port {asked}");
            failed(Code::NeverListened, detail)
        }
        End::ImageRefused(why) => failed(Code::ImageInvalid, format!("the image cannot be mounted: {why}")),
        End::Stopped => Verdict::cancelled(),
        // The deadline itself is noted by whoever waits for the answer.
        End::Deadline => Verdict::cancelled(),
        End::Panicked(why) => failed(Code::GuestCrashed, format!("its kernel gave up: {why}")),
        End::Misbehaved(why) => failed(Code::GuestCrashed, format!("its machine broke the protocol: {why}")),
        End::MachineDied(why) => Verdict::node_failed(format!("the function's machine died: {why}")),
        End::AgentFailed(why) => Verdict::node_failed(format!("the guest agent: {why}")),
    }
}
