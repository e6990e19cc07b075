//! What the machine may lack: nats-server, a compiler for wasm, the VM lane, and for the tests PostgreSQL, a browser and
//! more. The table in `provision` says which programs, and how each is had; what cannot be had is one line: what, why,
//! fix.

pub(crate) mod apt;
pub(crate) mod axe;
pub(crate) mod images;
mod nats;
pub(crate) mod npm;
mod pip;
pub(crate) mod vm;

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use componentize::Toolchain;
use provision::{PROGRAMS, Purpose, Source};

use crate::steps::{Steps, say};

pub(crate) use nats::VARIABLE as NATS_VARIABLE;

/// What looks at the portal as users do.
const BROWSER: [&str; 2] = ["chromium", "chromedriver"];

/// nats-server's program.
pub(crate) fn nats(steps: &mut Steps) -> anyhow::Result<PathBuf> {
    steps.run("nats-server", nats::find)
}

/// The compiler for wasm.
pub(crate) fn wasm(steps: &mut Steps) -> anyhow::Result<Toolchain> {
    steps.run("wasm toolchain", || Toolchain::find(&say).map_err(|error| anyhow!("{error}")))
}

/// Says which programs are missing that nothing here brings, each in a line: before minutes of compiling, not after.
pub(crate) fn say_missing(purposes: &[Purpose]) {
    let programs = PROGRAMS.iter().filter(|program| purposes.contains(&program.purpose));
    for program in programs.filter(|program| matches!(program.source, Source::System { .. } | Source::Own { .. })) {
        if provision::find(program.name).is_none() {
            say(&program.help());
        }
    }
}

/// All that tests call: PostgreSQL, Chromium with its driver, tools that look into images.
pub(crate) fn for_tests(steps: &mut Steps) -> anyhow::Result<()> {
    say_missing(&[Purpose::Setup, Purpose::VmLane, Purpose::Tests, Purpose::Extra]);
    let programs = || PROGRAMS.iter().filter(|program| program.purpose == Purpose::Tests);
    steps.run("programs that the tests call", || {
        for program in programs().filter(|program| matches!(program.source, Source::Unpacked { .. })) {
            provision::fetch(program.name, &say).with_context(|| program.help())?;
        }
        apt::need(programs())
    })
}

/// Chromium and its driver.
pub(crate) fn browser(steps: &mut Steps) -> anyhow::Result<()> {
    let programs = PROGRAMS.iter().filter(|program| BROWSER.contains(&program.name));
    steps.run("a browser", || apt::need(programs))
}

/// What looks at the portal's pages in tests.
pub(crate) fn axe(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("axe-core for the tests", || axe::find().map(drop))
}
