//! All programs that the set-up, the platform and the tests call, and how each gets to a machine that lacks it. A test
//! compares this table with the sources: a call of a program that is not here would fail on somebody's new machine.

/// A program that something here calls.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// As it is called.
    pub name: &'static str,
    /// Who needs it.
    pub purpose: Purpose,
    /// How it is had.
    pub source: Source,
    /// Arguments that it answers with success if it works at all. Where there are none, that the file is there will do.
    pub probe: &'static [&'static str],
}

/// Who needs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Who builds or starts the platform.
    Setup,
    /// The VM lane: without it functions run in the wasm lane alone.
    VmLane,
    /// The tests.
    Tests,
    /// Some measurement, or something that is done where it can be done.
    Extra,
}

/// How a program is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is on every Debian, or came with what compiles Rust: a machine without it is told the package.
    System {
        /// Debian's.
        package: &'static str,
    },
    /// Its package and libraries are unpacked into the cache, as anybody.
    Unpacked {
        /// Debian's.
        package: &'static str,
        /// Which of its needs it cannot run without, beside libraries.
        with: &'static [&'static str],
    },
    /// apt installs it, as root.
    Installed {
        /// Debian's.
        package: &'static str,
    },
    /// The set-up fetches a pinned file by itself.
    Pinned,
    /// Nothing brings it.
    Own {
        /// What is not done without it.
        without: &'static str,
    },
}

/// The table.
pub const PROGRAMS: &[Program] = &[
    // What fetches and builds everything else.
    system("cargo", Purpose::Setup, "rustup"),
    system("rustc", Purpose::Setup, "rustup"),
    system("cc", Purpose::Setup, "build-essential"),
    system("make", Purpose::Setup, "build-essential"),
    system("git", Purpose::Tests, "git"),
    system("id", Purpose::Setup, "coreutils"),
    system("sh", Purpose::Setup, "dash"),
    system("python3", Purpose::Setup, "python3"),
    own("rustup", "where it is, it adds the target for wasm; else Debian's compiler does"),
    own("pip3", "python3's own pip is asked first"),
    Program { name: "nats-server", purpose: Purpose::Setup, source: Source::Pinned, probe: &["--version"] },
    own("xdg-open", "`crowdcloud open` prints the URL alone"),
    // The VM lane.
    system("apt-get", Purpose::VmLane, "apt"),
    system("dpkg-deb", Purpose::VmLane, "dpkg"),
    Program {
        name: "qemu-system-x86_64",
        purpose: Purpose::VmLane,
        source: Source::Unpacked {
            package: "qemu-system-x86",
            with: &["qemu-system-common", "qemu-system-data", "seabios"],
        },
        probe: &["--version"],
    },
    // The tests.
    Program { probe: &["-version"], ..unpacked("mksquashfs", Purpose::Tests, "squashfs-tools") },
    // It tells its version with an exit status of 1.
    unpacked("unsquashfs", Purpose::Tests, "squashfs-tools"),
    Program { probe: &["version"], ..unpacked("openssl", Purpose::Tests, "openssl") },
    installed("initdb", Purpose::Tests, "postgresql"),
    installed("chromium", Purpose::Tests, "chromium"),
    installed("chromedriver", Purpose::Tests, "chromium-driver"),
    installed("skopeo", Purpose::Tests, "skopeo"),
    installed("curl", Purpose::Tests, "curl"),
    installed("ip", Purpose::Tests, "iproute2"),
    installed("tc", Purpose::Tests, "iproute2"),
    system("cat", Purpose::Tests, "coreutils"),
    system("chroot", Purpose::Tests, "coreutils"),
    system("kill", Purpose::Tests, "procps"),
    system("mount", Purpose::Tests, "mount"),
    system("cp", Purpose::Tests, "coreutils"),
    system("mkdir", Purpose::Tests, "coreutils"),
    system("script", Purpose::Tests, "bsdutils"),
    system("sed", Purpose::Tests, "sed"),
    system("node", Purpose::Tests, "nodejs"),
    system("npm", Purpose::Tests, "npm"),
    system("sleep", Purpose::Tests, "coreutils"),
    system("tar", Purpose::Tests, "tar"),
    system("umount", Purpose::Tests, "mount"),
    system("unshare", Purpose::Tests, "util-linux"),
    own("systemd-analyze", "the unit of `lend --install` is not checked"),
    own("aarch64-linux-gnu-gcc", "the executor is not checked for 64-bit ARM"),
    // Measurements.
    system("nice", Purpose::Extra, "coreutils"),
];

/// The program of this name.
#[must_use]
pub fn program(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}

impl Program {
    /// What to tell who has not got it.
    #[must_use]
    pub fn help(&self) -> String {
        match self.source {
            Source::System { package } | Source::Installed { package } | Source::Unpacked { package, .. } => {
                format!("{}: not found; fix: as root `apt-get install {package}`", self.name)
            }
            Source::Pinned => format!("{}: not found; fix: `cargo xtask setup`", self.name),
            Source::Own { without } => format!("{}: not found: {without}", self.name),
        }
    }
}

const fn system(name: &'static str, purpose: Purpose, package: &'static str) -> Program {
    Program { name, purpose, source: Source::System { package }, probe: &[] }
}

const fn unpacked(name: &'static str, purpose: Purpose, package: &'static str) -> Program {
    Program { name, purpose, source: Source::Unpacked { package, with: &[] }, probe: &[] }
}

const fn installed(name: &'static str, purpose: Purpose, package: &'static str) -> Program {
    Program { name, purpose, source: Source::Installed { package }, probe: &[] }
}

const fn own(name: &'static str, without: &'static str) -> Program {
    Program { name, purpose: Purpose::Extra, source: Source::Own { without }, probe: &[] }
}

#[cfg(test)]
mod tests;
