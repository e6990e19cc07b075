//! What the portal weighs on its way to a browser, and how much the first page may.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::PAGE;
use crate::steps::{quiet, say};

/// The most that a browser loads, compressed, to show an account's dashboard without its large chart.
const FIRST_LOAD_BYTES: u64 = 282_000;

/// Compresses the named files as the gateway does; a line for each: its path, its size, its size compressed.
const MEASURE: &str = r#"
const fs = require("node:fs"), zlib = require("node:zlib"), { constants } = zlib;
const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
for (const path of process.argv.slice(1)) {
  const bytes = fs.readFileSync(path);
  console.log(path, bytes.length, zlib.brotliCompressSync(bytes, { params }).length);
}"#;

/// A file of the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Weight {
    bytes: u64,
    compressed: u64,
}

/// Files by their paths.
type Weights = BTreeMap<String, Weight>;

/// Says what each file in this folder weighs. Node.js measures it; on a machine without it nothing is measured.
///
/// # Errors
/// The first load is heavier than it may be.
pub(super) fn check(dist: &Path) -> anyhow::Result<()> {
    let weights = match weigh(dist) {
        Ok(weights) => weights,
        Err(error) if !crate::parts::is_ci() => {
            say(&format!("the portal was not weighed: {error:#}"));
            return Ok(());
        }
        Err(error) => bail!("the portal cannot be weighed: {error:#}"),
    };
    let page = std::fs::read_to_string(dist.join(PAGE))?;
    let mut load = 0;
    for (path, Weight { bytes, compressed }) in &weights {
        // What is loaded first stands in the page.
        let first = path == PAGE || page.contains(&format!("\"/{path}\""));
        load += if first { *compressed } else { 0 };
        let when = if first { "at first" } else { "later" };
        say(&format!("{bytes:>9} B, compressed {compressed:>7} B, {when:>8}: {path}"));
    }
    say(&format!("the portal's first load: {load} B of {FIRST_LOAD_BYTES} B"));
    if load > FIRST_LOAD_BYTES {
        bail!(
            "the portal's first load is {load} B compressed, more than {FIRST_LOAD_BYTES} B; fix: let pages come \
             `later!` (web/src/part.rs), or find what the frame or the dashboard began to need"
        );
    }
    Ok(())
}

/// Paths hold hashes, so each is measured once and remembered beside the folder.
fn weigh(dist: &Path) -> anyhow::Result<Weights> {
    let memory = dist.with_extension("weights");
    let known = std::fs::read_to_string(&memory).ok().and_then(|lines| parsed(&lines).ok()).unwrap_or_default();
    let paths = paths(dist, "")?;
    let unknown: Vec<&String> = paths.iter().filter(|path| *path == PAGE || !known.contains_key(*path)).collect();
    let lines = quiet(Command::new("node").args(["-e", MEASURE, "--"]).args(unknown).current_dir(dist))?;
    let mut weights = parsed(&lines)?;
    weights.extend(known.into_iter().filter(|(path, _)| path != PAGE && paths.contains(path)));
    let lines = weights.iter().map(|(path, Weight { bytes, compressed })| format!("{path} {bytes} {compressed}\n"));
    std::fs::write(&memory, lines.collect::<String>())
        .with_context(|| format!("{} cannot be written", memory.display()))?;
    Ok(weights)
}

/// The files below this folder.
fn paths(folder: &Path, above: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let path = format!("{above}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => found.extend(paths(&entry.path(), &format!("{path}/"))?),
            false => found.push(path),
        }
    }
    Ok(found)
}

fn parsed(lines: &str) -> anyhow::Result<Weights> {
    let weight = |line: &str| -> anyhow::Result<(String, Weight)> {
        let words: Vec<&str> = line.split(' ').collect();
        let [path, bytes, compressed] = words[..] else { bail!("`{line}` is no weight") };
        Ok((path.to_owned(), Weight { bytes: bytes.parse()?, compressed: compressed.parse()? }))
    };
    lines.lines().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_weights() {
        let weights = parsed("index.html 20 8\nportal-1/portal.js 30 9\n").unwrap();
        assert_eq!(weights["portal-1/portal.js"], Weight { bytes: 30, compressed: 9 });
        assert_eq!(weights.len(), 2);
        assert!(parsed("portal-1/portal.js 30").is_err());
    }
}
