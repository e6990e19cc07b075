//! The node's disks for blobs. It notes which disk each folder is: what is below a disk that is not mounted is no new disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use protocol::node::StoreDisk;
use store::{DiskFolder, DiskService};

use crate::config::Config;
use crate::error::Error;

/// In the node's folder: which disk each folder was when it was served last.
const NOTE: &str = "store-disks.json";

type Noted = BTreeMap<String, StoreDisk>;

/// Opens them, each by itself.
pub(super) fn open(config: &Config) -> Result<DiskService, Error> {
    if config.store_dir.is_empty() {
        return Ok(DiskService::open(&[], None)?);
    }
    let file = config.data.join(NOTE);
    let noted = read(&file).map_err(Error::Folder)?;
    let may_be_new: Vec<String> = config.store_dir_new.iter().map(|folder| called(folder)).collect();
    let folder = |path: &std::path::PathBuf| {
        let name = called(path);
        DiskFolder { path: path.clone(), known: noted.get(&name).cloned(), may_be_new: may_be_new.contains(&name) }
    };
    let folders = config.store_dir.iter().map(folder).collect();
    let (disks, failed) = DiskService::open_each(folders, config.store_domain.as_deref())?;
    for error in failed {
        tracing::error!(%error, "a disk for blobs is not served");
    }
    let mut now = noted.clone();
    now.extend(disks.folders().map(|(folder, disk)| (called(folder), disk)));
    if now != noted {
        write(&config.data, &file, &now).map_err(Error::Folder)?;
    }
    Ok(disks)
}

/// A folder, wherever the node is started.
fn called(folder: &Path) -> String {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

fn read(file: &Path) -> io::Result<Noted> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Noted::new()),
        Err(error) => Err(error),
    }
}

fn write(data: &Path, file: &Path, noted: &Noted) -> io::Result<()> {
    fs::create_dir_all(data)?;
    let partial = file.with_extension("json.partial");
    let mut written = File::create(&partial)?;
    written.write_all(&serde_json::to_vec_pretty(noted)?)?;
    written.sync_all()?;
    fs::rename(&partial, file)?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use protocol::NodeId;

    use super::*;

    #[test]
    fn what_is_below_a_disk_that_is_not_mounted_is_no_new_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut config = Config::new(path("node"), NodeId::new(), "node");
        assert!(open(&config).unwrap().told().is_empty() && !path("node").exists());
        config.store_dir = vec![path("dead"), path("well")];
        fs::write(path("dead"), "no folder").unwrap();
        let disk = open(&config).unwrap().told();
        assert_eq!(disk.len(), 1, "one that is dead ends no start");
        fs::remove_dir_all(path("well")).unwrap();
        for _ in 0..2 {
            let below = open(&config).unwrap();
            assert_eq!((below.told(), below.folders().count()), (disk.clone(), 0));
            assert!(!path("well").exists());
        }
        config.store_dir_new = vec![path("well")];
        let new = open(&config).unwrap().told();
        assert!(new.len() == 1 && new != disk);
        config.store_dir_new.clear();
        assert_eq!(open(&config).unwrap().told(), new, "it belongs here from now on");
    }
}
