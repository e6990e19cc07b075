//! A template of one image, made out of one that serves more: a copy of its memory goes on, mounts the image, and is
//! saved again. Nothing boots, and nothing of a run is in it.

use std::sync::Arc;

use guest_agent::wire::{Mount, ToGuest};
use qapi::qmp;

use super::{Fits, Template, mounted, save};
use crate::command_line::Purpose;
use crate::config::STATE_WITHIN;
use crate::disk::Disk;
use crate::error::Error;
use crate::life::Step;
use crate::machine::Machine;
use crate::sys;

impl Template {
    /// A template in which the image is mounted and the files named in `warm`, from the image's root on, are in memory.
    /// Its runs may write that much to their disk.
    pub async fn prepared(&self, disk: &Disk, overlay_bytes: u64, warm: &[String]) -> Result<Self, Error> {
        let disk = match &self.fits {
            Fits::All => disk,
            Fits::On(base) if disk.is_on(base) => disk,
            Fits::On(_) | Fits::Only(_) => return Err(Error::Missing("the template is not for this image".to_owned())),
        };
        let own = self.memory.try_clone().map_err(Error::io("a template's memory"))?;
        let copy = tokio::task::spawn_blocking(move || sys::memory_copy("template", &own)).await;
        let memory = copy.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let memory = memory.map_err(Error::io("a template's memory cannot be copied"))?;
        let mut machine = self.load(Purpose::Successor, &memory, disk).await?;
        let warm = warm.iter().map(|path| path.clone().into_bytes()).collect();
        let state = async {
            mount(&mut machine, Mount { overlay_bytes, warm, based: disk.base.is_some() }).await?;
            save(&mut machine).await
        };
        let state = state.await;
        machine.process.kill().await;
        let state = state?;
        sys::seal(&memory).map_err(Error::io("a template's memory cannot be sealed"))?;
        let (host, fits) = (Arc::clone(&self.host), Fits::Only(disk.clone()));
        Ok(Self { host, shape: self.shape, accelerator: self.accelerator, memory, state, fits, hello: self.hello })
    }
}

async fn mount(machine: &mut Machine, mount: Mount) -> Result<(), Error> {
    machine.step(Step::Rehearse)?;
    machine.link.send(&[ToGuest::Mount(mount)]);
    machine.monitor.execute(qmp::cont {}).await?;
    mounted(machine, STATE_WITHIN).await?;
    machine.monitor.execute(qmp::stop {}).await?;
    machine.step(Step::Rehearsed)
}
