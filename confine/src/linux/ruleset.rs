//! From a confinement to a ruleset of Landlock. It asks for all that is known of Landlock; what a kernel lacks of it,
//! the crate leaves out.

use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};

use crate::confinement::{Confinement, Network};
use crate::error::Error;

/// The newest whose file accesses are used: sockets in folders.
const FILES: ABI = ABI::V9;
/// TCP; all else of networks is seccomp's.
const PORTS: ABI = ABI::V4;
const SCOPES: ABI = ABI::V6;

/// The ruleset, as a handle.
pub(super) fn of(confinement: &Confinement) -> Result<Option<OwnedFd>, Error> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(FILES))?.scope(Scope::from_all(SCOPES))?;
    match &confinement.network {
        Network::None | Network::Local | Network::Tcp(_) => {
            ruleset = ruleset.handle_access(AccessNet::from_all(PORTS))?;
        }
        Network::Internet => ruleset = ruleset.handle_access(AccessNet::BindTcp)?,
        Network::Any => {}
    }
    let mut created = ruleset.create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = (AccessFs::from_write(FILES) | read) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let all =
        [(&confinement.read, read), (&confinement.write, write), (&confinement.execute, read | AccessFs::Execute)];
    for (paths, access) in all {
        for path in paths {
            created = allow(created, path, access)?;
        }
    }
    if let Network::Tcp(ports) = &confinement.network {
        for port in ports {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(created.into())
}

fn allow(created: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, Error> {
    let handle = PathFd::new(path)?;
    // The kernel takes no right of folders for a file.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(FILES) };
    Ok(created.add_rule(PathBeneath::new(handle, access))?)
}
