//! Fetches what machines need into a folder outside the clone: Debian's cloud kernel, unpacked and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::kernel::Kernel;

const PACKAGE: &str = "linux-image-cloud-amd64";

/// The kernel's folder in `cache`, fetched if it is not there: for [`crate::Config::kernel`]. Takes a while the first
/// time.
pub fn kernel(cache: &Path) -> Result<PathBuf, Error> {
    let folder = cache.join("kernel");
    if Kernel::find(&folder).is_ok() {
        return Ok(folder);
    }
    let name = newest()?;
    // Several programs may find out at one time that there is no kernel.
    let download = cache.join(format!("kernel.download-{}", std::process::id()));
    std::fs::create_dir_all(&download).map_err(Error::io("the download's folder"))?;
    let fetched = fetch(&name, &download, &folder);
    std::fs::remove_dir_all(&download).map_err(Error::io("the download"))?;
    fetched?;
    Ok(folder)
}

fn fetch(name: &str, download: &Path, folder: &Path) -> Result<(), Error> {
    run(Command::new("apt-get").args(["download", name]).current_dir(download))?;
    let archives = std::fs::read_dir(download).map_err(Error::io("the download"))?;
    let archive = archives.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.extension().is_some());
    let archive = archive.ok_or_else(|| Error::Missing(format!("apt-get downloaded no {name}")))?;
    let unpacked = download.join("unpacked");
    run(Command::new("dpkg-deb").arg("-x").args([&archive, &unpacked]))?;
    Kernel::find(&unpacked)?;
    match std::fs::rename(&unpacked, folder) {
        // Another program was faster.
        Err(_) if Kernel::find(folder).is_ok() => Ok(()),
        moved => moved.map_err(Error::io("the kernel's folder")),
    }
}

/// The package that the always empty package of that name stands for.
fn newest() -> Result<String, Error> {
    let text = run(Command::new("apt-cache").args(["depends", "--no-recommends", "--no-suggests", PACKAGE]))?;
    let depends = text.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let release = depends.ok_or_else(|| Error::Missing(format!("apt knows no {PACKAGE}: run apt-get update")))?;
    Ok(format!("linux-image-{}", release.trim()))
}

fn run(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| Error::Missing(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Missing(format!("{program} failed: {}", said.trim())))
}

/// What `cargo build --package guest-agent --profile agent` needs in
/// `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS`, so that the agent needs no library in the guest.
pub const AGENT_RUSTFLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";
