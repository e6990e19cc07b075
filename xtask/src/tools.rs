//! What the machine may lack: nats-server, a compiler for wasm, and for the tests PostgreSQL and a browser. Each is
//! found or fetched; what cannot be had is one line: what, why, fix.

pub(crate) mod apt;
pub(crate) mod axe;
mod nats;
pub(crate) mod vm;

use std::path::PathBuf;

use anyhow::anyhow;
use componentize::Toolchain;

use crate::steps::{Steps, say};

pub(crate) use nats::VARIABLE as NATS_VARIABLE;

/// nats-server's program.
pub(crate) fn nats(steps: &mut Steps) -> anyhow::Result<PathBuf> {
    steps.run("nats-server", nats::find)
}

/// The compiler for wasm.
pub(crate) fn wasm(steps: &mut Steps) -> anyhow::Result<Toolchain> {
    steps.run("wasm toolchain", || Toolchain::find(&say).map_err(|error| anyhow!("{error}")))
}

/// PostgreSQL, Chromium with its driver, and what looks at its pages.
pub(crate) fn for_tests(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("PostgreSQL, Chromium and skopeo for the tests", || {
        apt::need(&[
            apt::Need { what: "PostgreSQL", package: "postgresql", found: apt::has_postgresql },
            apt::Need { what: "Chromium", package: "chromium", found: || apt::which("chromium").is_some() },
            apt::Need {
                what: "chromedriver",
                package: "chromium-driver",
                found: || apt::which("chromedriver").is_some(),
            },
            apt::Need { what: "skopeo", package: "skopeo", found: || apt::which("skopeo").is_some() },
        ])
    })?;
    steps.run("axe-core for the tests", || axe::find().map(drop))
}
