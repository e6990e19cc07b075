//! The machine that was measured on, without its name.

use std::fmt;
use std::fs;

use serde::Serialize;

/// What figures depend on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) cpu: String,
    /// Processors that this process may use.
    pub(crate) cores: usize,
    /// Memory.
    pub(crate) memory_mib: u64,
    /// The operating system.
    pub(crate) os: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The architecture.
    pub(crate) arch: &'static str,
    /// The compiler.
    pub(crate) rustc: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|rest| rest.trim_start_matches([':', '=', ' ', '\t']).trim_matches('"').trim().to_owned())
        };
        let kib = after(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = kib.split(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        Self {
            cpu: after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib / 1024,
            os: after(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            arch: std::env::consts::ARCH,
            rustc: version("rustc"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_mib, os, kernel, .. } = self;
        write!(f, "{cores} cores of {cpu}, {memory_mib} MiB, {os}, kernel {kernel}")
    }
}

/// What a program says of itself.
pub(crate) fn version(program: impl AsRef<std::path::Path>) -> String {
    let output = provision::command(program.as_ref()).arg("--version").output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
