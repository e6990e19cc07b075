//! The first process of a microVM. It makes the guest ready, says hello to the host, and waits; a template is saved at
//! that point. What follows runs in every clone, on a host that may have to translate each instruction anew: so it is
//! one thread, few system calls, and nothing that could have been done before.
//!
//! ```text
//! boot: devices, modules, cgroup -> hello -> mount -> start: clock, entropy, program -> relay -> ended
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

#[cfg(target_os = "linux")]
mod agent;

#[cfg(target_os = "linux")]
fn main() {
    if std::env::args().nth(1).as_deref() == Some(guest_agent::wire::REHEARSAL) {
        agent::rehearse();
    } else {
        agent::run();
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the guest agent runs in a Linux guest");
}
