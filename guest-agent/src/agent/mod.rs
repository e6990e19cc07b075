//! See the program's root.

mod boot;
mod egress;
mod group;
mod names;
mod port;
mod rehearsal;
mod relay;
mod restore;
mod root;
mod speed;
mod streams;
mod surroundings;
mod warm;
mod workload;
mod world;

pub(crate) use rehearsal::rehearse;

use guest_agent::wire::{Hello, ToHost, VERSION};

/// Boots the guest and serves its host. Returns only where it cannot go on; the kernel then panics, and says why.
pub(crate) fn run() {
    let boot::Ready { port, random, names, workload, rehearsal } = match boot::boot() {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("the guest agent cannot boot: {error}");
            return;
        }
    };
    let mut port = port::Port::new(port);
    let uptime_ms = u32::try_from(restore::uptime().as_millis()).unwrap_or(u32::MAX);
    port.send(&ToHost::Hello(Hello { version: VERSION, uptime_ms, turns_per_ms: speed::turns_per_ms() }));
    if let Err(error) = relay::Relay::new(port, random, names, workload, rehearsal).run() {
        eprintln!("the guest agent lost its host: {error}");
    }
}
