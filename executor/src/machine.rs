//! What tells this machine from a copy of its disk. What is read of the machine is hashed with the platform's key, so that
//! no two platforms see the same.

use std::fs;
use std::io;

use lending::document;
use protocol::Digest;
use protocol::node::{Fingerprint, PublicKey};

use crate::config::Config;

/// The machine's own id, where there is one.
const IDS: [&str; 2] = ["etc/machine-id", "var/lib/dbus/machine-id"];
/// Another one after each boot.
const BOOT: &str = "proc/sys/kernel/random/boot_id";

/// This machine's id, as the platform that it joins sees it.
#[must_use]
pub fn machine(config: &Config) -> Option<Digest> {
    let platform = config.platform.as_ref()?;
    IDS.iter().find_map(|id| hashed(config, platform, id, "machine"))
}

/// What this start of the node says of its machine. Each start counts.
///
/// # Errors
/// When the count cannot be read or written.
pub fn fingerprint(config: &Config) -> io::Result<Option<Fingerprint>> {
    let Some(platform) = &config.platform else { return Ok(None) };
    let path = config.data.join("starts");
    let starts = document::read::<u32>(&path)?.saturating_add(1);
    document::write(&path, &starts)?;
    Ok(Some(Fingerprint { machine: machine(config), boot: hashed(config, platform, BOOT, "boot"), starts }))
}

fn hashed(config: &Config, platform: &PublicKey, file: &str, what: &str) -> Option<Digest> {
    let text = fs::read_to_string(config.machine_root.join(file)).ok()?;
    let id = Some(text.trim()).filter(|id| !id.is_empty())?;
    Some(Digest(*blake3::keyed_hash(&platform.0, format!("{what}\n{id}").as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use protocol::NodeId;

    use super::*;

    #[test]
    fn a_machine_is_told_from_others_and_each_start_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let place = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let config = |platform| Config {
            platform,
            machine_root: root.to_owned(),
            ..Config::new(root.to_owned(), NodeId::new(), "attic")
        };
        let one = config(Some(PublicKey([1; 32])));
        assert_eq!(fingerprint(&config(None)).unwrap(), None);
        assert_eq!(machine(&one), None, "it has no id");
        place("etc/machine-id", "0123\n");
        place(BOOT, "abcd\n");
        let first = fingerprint(&one).unwrap().unwrap();
        let again = fingerprint(&one).unwrap().unwrap();
        assert_eq!((first.starts, again.starts), (1, 2));
        assert_eq!((first.machine, first.boot), (again.machine, again.boot));
        assert_ne!(first.machine, first.boot);
        assert_ne!(machine(&config(Some(PublicKey([2; 32])))), first.machine, "another platform sees another");
        place("etc/machine-id", "4567\n");
        assert_ne!(machine(&one), first.machine);
        place("starts", "many");
        assert!(fingerprint(&one).is_err(), "a count that is damaged does not begin anew");
    }
}
