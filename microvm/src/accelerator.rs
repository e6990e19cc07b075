//! What runs the guests: KVM where it truly works, TCG otherwise. That `/dev/kvm` opens proves nothing, so a guest is
//! booted for real, with little time to do it. What was found is kept in the machines' folder.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{BOOT_WITHIN, PROBE_WITHIN, Shape};
use crate::error::Error;
use crate::host::Inner;
use crate::template::{Preparation, Template};

const SMALL: Shape = Shape { memory_mib: 128, cpus: 1 };
const FILE: &str = "accelerator.json";

/// What runs the guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor itself.
    Kvm,
    /// A translator, many times slower.
    Tcg,
}

impl Accelerator {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// How fast guests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    pub accelerator: Accelerator,
    /// Turns of a fixed loop of integer work in a millisecond, measured in a guest.
    pub turns_per_ms: u32,
}

/// What was found, and what it was found with: another kernel or another QEMU is another question.
#[derive(Serialize, Deserialize)]
struct Found {
    question: String,
    speed: Speed,
}

/// Finds out, or remembers.
pub(crate) async fn find(host: &Arc<Inner>) -> Result<Speed, Error> {
    let question = question(host);
    let file = host.config.work.join(FILE);
    if let Some(found) = remembered(&file).filter(|found| found.question == question) {
        return Ok(found.speed);
    }
    let speed = probe(host).await?;
    let text = serde_json::to_string(&Found { question, speed }).unwrap_or_default();
    if let Err(error) = std::fs::write(&file, text) {
        tracing::warn!(%error, "which accelerator works will be found out again");
    }
    Ok(speed)
}

async fn probe(host: &Arc<Inner>) -> Result<Speed, Error> {
    if Path::new("/dev/kvm").exists() {
        match Template::boot(host, SMALL, Accelerator::Kvm, PROBE_WITHIN, Preparation::Plain).await {
            Ok(template) => return Ok(template.speed()),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                tracing::info!(why, "KVM is there but runs no guest: guests are translated, which is slower");
            }
        }
    }
    Template::boot(host, SMALL, Accelerator::Tcg, BOOT_WITHIN, Preparation::Plain)
        .await
        .map(|template| template.speed())
}

fn remembered(file: &Path) -> Option<Found> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn question(host: &Inner) -> String {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let kvm = Path::new("/dev/kvm").exists();
    let (qemu, agent) = (&host.config.qemu, &host.config.agent);
    format!("{} {:?} {:?} {} kvm={kvm}", qemu.display(), modified(qemu), modified(agent), host.kernel.release)
}
