//! A rehearsal: a clone mounts its image and runs the agent's own little program once, before anybody waits for it.
//! Where guests are translated, most of a short run's time is the translation of what every run does.

use std::time::Duration;

use guest_agent::wire::{Contract, Mount, REHEARSAL, ToGuest, ToHost};
use qapi::qmp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::egress::Egress;
use crate::error::Error;
use crate::life::Step;
use crate::link::GuestStream;
use crate::machine::Machine;
use crate::run::{Workload, start_of};

const WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn rehearse(machine: &mut Machine, mount: Option<Mount>, contract: Contract) -> Result<(), Error> {
    machine.step(Step::Rehearse)?;
    let link = machine.link.clone();
    let stderr = link.stderr();
    let mounts = mount.is_some();
    let rehearse = ToGuest::Rehearse(Box::new(start_of(program(contract))));
    machine.link.send(&mount.into_iter().map(ToGuest::Mount).chain([rehearse]).collect::<Vec<_>>());
    match contract {
        Contract::Command => {
            let stdio = link.stdio();
            go_on(machine, mounts).await?;
            in_time(converse(stdio, b"")).await?;
        }
        Contract::Server { .. } => {
            let stdout = link.stdout();
            go_on(machine, mounts).await?;
            until(machine, |frame| matches!(frame, ToHost::Listening)).await?;
            let connection = link.connect().ok_or_else(|| Error::Guest("it takes no connection".to_owned()))?;
            in_time(converse(connection, b"GET / HTTP/1.1\r\n\r\n")).await?;
            drop(stdout);
        }
    }
    until(machine, |frame| matches!(frame, ToHost::Ended(..))).await?;
    drop(stderr);
    machine.monitor.execute(qmp::stop {}).await?;
    machine.step(Step::Rehearsed)
}

/// An image that cannot be mounted ends it here: no stream would say so.
async fn go_on(machine: &mut Machine, mounts: bool) -> Result<(), Error> {
    machine.monitor.execute(qmp::cont {}).await?;
    if mounts { until(machine, |frame| matches!(frame, ToHost::Mounted)).await } else { Ok(()) }
}

/// The agent's own file, in the agent's own root.
fn program(contract: Contract) -> Workload {
    let mut env = vec!["PATH=/bin".to_owned()];
    if let Contract::Server { port, .. } = contract {
        env.push(format!("PORT={port}"));
    }
    Workload {
        contract,
        argv: vec!["/init".to_owned(), REHEARSAL.to_owned()],
        env,
        cwd: "/".to_owned(),
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        memory_bytes: None,
        pids_max: 0,
        files_max: 64,
        overlay_bytes: 0,
        egress: Egress::None,
    }
}

async fn converse(mut stream: GuestStream, input: &[u8]) -> std::io::Result<()> {
    stream.write_all(input).await?;
    stream.shutdown().await?;
    let mut output = Vec::new();
    stream.read_to_end(&mut output).await?;
    Ok(())
}

async fn in_time(work: impl Future<Output = std::io::Result<()>>) -> Result<(), Error> {
    let result = tokio::time::timeout(WITHIN, work).await.map_err(|_| Error::Slow("a rehearsal"))?;
    result.map_err(Error::io("a rehearsal"))
}

async fn until(machine: &mut Machine, wanted: impl Fn(&ToHost) -> bool) -> Result<(), Error> {
    loop {
        let frame = machine.frame(WITHIN, "a rehearsal").await?;
        match &frame {
            frame if wanted(frame) => return Ok(()),
            ToHost::Started | ToHost::Listening => {}
            other => return Err(Error::Guest(format!("{other:?} in a rehearsal"))),
        }
    }
}
