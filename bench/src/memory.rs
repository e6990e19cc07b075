//! Resident memory of a process and all its children.

use std::collections::BTreeMap;
use std::fs;

/// Kilobytes of each process, with its name, largest first. Pages that processes share count for each of them.
pub(crate) fn resident_kib(root: u32) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = family(root).into_iter().filter_map(status).collect();
    found.sort_by_key(|(_, kib)| std::cmp::Reverse(*kib));
    found
}

/// Kilobytes of this process alone.
pub(crate) fn own_kib() -> Option<u64> {
    status(std::process::id()).map(|(_, kib)| kib)
}

/// A process and all its children.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        next += 1;
    }
    family
}

/// Each process's parent.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain spaces and brackets.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
    .collect()
}

fn status(pid: u32) -> Option<(String, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let kib = value("VmRSS:")?.split(' ').next()?.parse().ok()?;
    Some((value("Name:")?.to_owned(), kib))
}

#[cfg(test)]
mod tests {
    #[test]
    fn children_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = super::resident_kib(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.len() >= 2, "{found:?}");
        assert!(found.iter().all(|(_, kib)| *kib > 0));
        assert!(found.iter().any(|(name, _)| name == "sleep"), "{found:?}");
    }
}
