//! Fetches what machines need into a folder outside the clone: Debian's cloud kernel, unpacked and not installed.

use std::path::{Path, PathBuf};

use provision::{Apt, apt};

use crate::error::Error;
use crate::kernel::Kernel;

/// Always empty: it stands for the newest.
const PACKAGE: &str = "linux-image-cloud-amd64";
const RELEASE: &str = "linux-image-";

/// The kernel's folder in `cache`, fetched if it is not there: for [`crate::Config::kernel`]. Takes a while the first
/// time.
pub fn kernel(cache: &Path) -> Result<PathBuf, Error> {
    let folder = cache.join("kernel");
    if Kernel::find(&folder).is_ok() {
        return Ok(folder);
    }
    // Several programs may find out at one time that there is no kernel.
    let download = cache.join(format!("kernel.download-{}", std::process::id()));
    std::fs::create_dir_all(&download).map_err(Error::io("the download's folder"))?;
    let fetched = fetch(&download, &folder);
    std::fs::remove_dir_all(&download).map_err(Error::io("the download"))?;
    fetched?;
    Ok(folder)
}

fn fetch(download: &Path, folder: &Path) -> Result<(), Error> {
    let missing = |error: provision::Error| Error::Missing(error.to_string());
    let apt = Apt::open().map_err(missing)?;
    let newest = |apt: &Apt| {
        let resolved = apt.resolve(&[PACKAGE.to_owned()])?;
        let kernels = resolved.iter().filter(|package| package.name != PACKAGE && package.name.starts_with(RELEASE));
        let exact: Vec<String> = kernels.map(|kernel| format!("{}={}", kernel.name, kernel.version)).collect();
        apt.download(&exact, download)
    };
    apt.attempt(&mut |apt| newest(apt)).map_err(missing)?;
    drop(apt);
    let archives = apt::archives(download).map_err(missing)?;
    let archive = archives.first().ok_or_else(|| Error::Missing(format!("apt-get downloaded no {PACKAGE}")))?;
    let unpacked = download.join("unpacked");
    apt::unpack(archive, &unpacked).map_err(missing)?;
    Kernel::find(&unpacked)?;
    match std::fs::rename(&unpacked, folder) {
        // Another program was faster.
        Err(_) if Kernel::find(folder).is_ok() => Ok(()),
        moved => moved.map_err(Error::io("the kernel's folder")),
    }
}

/// What `cargo build --package guest-agent --profile agent` needs in
/// `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS`, so that the agent needs no library in the guest.
pub const AGENT_RUSTFLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";
