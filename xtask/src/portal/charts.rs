//! The large charts: ECharts, as much of it as the portal uses, in one script that its pages import when they need it.

use std::path::Path;
use std::process::Command;

use crate::steps::quiet;
use crate::tools::npm;

/// The licence asks for it, and the bundler drops the notices of the sources.
const NOTICE: &str = "/* With Apache ECharts, Copyright The Apache Software Foundation, Apache License 2.0, \
    and zrender, Copyright Baidu Inc., BSD 3-Clause License: see the packages on npm. */";

/// The script's text.
pub(super) fn bundle(web: &Path) -> anyhow::Result<Vec<u8>> {
    let modules = npm::packages(web)?;
    let mut esbuild = Command::new(modules.join(".bin/esbuild"));
    esbuild.arg(web.join("charts/charts.js"));
    esbuild.args(["--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8", "--log-level=warning"]);
    // Packages are in the cache and not beside the sources.
    esbuild.arg(format!("--banner:js={NOTICE}")).env("NODE_PATH", &modules);
    quiet(&mut esbuild).map(String::into_bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lock_names_no_registry() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/package-lock.json")).unwrap();
        assert!(!lock.contains("\"resolved\""), "write it with `npm install --omit-lockfile-registry-resolved`");
        assert!(lock.contains("\"integrity\""), "packages are known by their digests");
    }
}
