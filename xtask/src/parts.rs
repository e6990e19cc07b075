//! What tests need of the machine beside compilers. What a machine lacks is said before the first test; the tests that
//! need it are left out and counted as skipped. In CI (`CI` is set) a part that every new machine can have must be
//! there, so that nothing passes for not having run.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::steps::{quiet, say};
use crate::tools::apt;

/// A part of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// QEMU, the guests' kernel and programs, squashfs-tools.
    Vm,
    /// The set of images, made of packages from Debian, npm and PyPI.
    Images,
    /// PostgreSQL's server.
    Postgres,
    /// Chromium and its driver.
    Browser,
    /// axe-core, which looks for what keeps people out of pages; from npm.
    Axe,
    /// The portal's large charts, of packages from npm.
    Charts,
    /// A root and a network of one's own, for tests that are several hosts.
    Namespaces,
    /// Writes archives as other tools than ours do.
    Skopeo,
    /// Hardware that runs guests.
    Kvm,
    /// Delegated control groups, version 2.
    Cgroups,
}

/// A part that is not there, and why.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) part: Part,
    pub(crate) why: String,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Vm => "the VM lane",
            Self::Images => "the set of images",
            Self::Postgres => "PostgreSQL",
            Self::Browser => "Chromium with its driver",
            Self::Axe => "axe-core",
            Self::Charts => "the portal's large charts",
            Self::Namespaces => "namespaces",
            Self::Skopeo => "skopeo",
            Self::Kvm => "KVM",
            Self::Cgroups => "cgroups v2",
        }
    }

    /// The tests that need it, as nextest filters them. Tests of parts that few machines have say so in their names.
    fn tests(self) -> &'static str {
        match self {
            Self::Vm => {
                "package(microvm) | package(images) | (package(executor) & test(/^vm::tests::|a_guest_reaches/)) | \
                 (package(tests) & test(/^vm|^native::/))"
            }
            Self::Images => "package(tests) & test(/^vm::image_set::/)",
            Self::Postgres => "package(control-plane) & test(postgres)",
            Self::Browser => "package(tests) & binary(portal)",
            Self::Axe => "package(tests) & test(/axe/)",
            Self::Charts => "package(tests) & test(/large_charts/)",
            Self::Namespaces => "test(/needs_namespaces/)",
            Self::Skopeo => "test(/needs_skopeo/)",
            Self::Kvm => "test(/needs_kvm/)",
            Self::Cgroups => "test(/needs_cgroups/)",
        }
    }

    /// Whether every new machine can have it: then CI is no CI without.
    fn everywhere(self) -> bool {
        !matches!(self, Self::Kvm | Self::Cgroups)
    }

    fn look(self) -> Result<(), String> {
        let program = |name: &str| provision::find(name).map(drop).ok_or_else(|| format!("`{name}` is not there"));
        match self {
            // Only their set-up can tell: see `tools::vm::prepare`, `tools::images::prepare`, `tools::axe` and `portal`.
            Self::Vm | Self::Images | Self::Axe | Self::Charts => Ok(()),
            Self::Postgres => program("initdb"),
            Self::Browser => program("chromium").and_then(|()| program("chromedriver")),
            Self::Namespaces => {
                // Root needs none of users, and in a changed root may make none.
                let own_root: &[&str] = if apt::is_root() { &[] } else { &["--user", "--map-root-user"] };
                let made = quiet(Command::new("unshare").args(own_root).args(["--net", "true"]));
                made.map(drop).map_err(|error| format!("{error:#}"))
            }
            Self::Skopeo => program("skopeo"),
            // The generic module alone may be a host's own that runs no ordinary guest.
            Self::Kvm if ["kvm_intel", "kvm_amd"].iter().any(|name| Path::new("/sys/module").join(name).is_dir()) => {
                Ok(())
            }
            Self::Kvm => Err("no processor's module is loaded".to_owned()),
            Self::Cgroups => {
                let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
                controllers.map(drop).map_err(|error| format!("no unified hierarchy: {error}"))
            }
        }
    }
}

/// What is not there, as far as that can be told without their set-up.
pub(crate) fn missing() -> Vec<Missing> {
    use Part::{Browser, Cgroups, Kvm, Namespaces, Postgres, Skopeo, Vm};
    let all = [Vm, Postgres, Browser, Namespaces, Skopeo, Kvm, Cgroups];
    all.into_iter().filter_map(|part| part.look().err().map(|why| Missing { part, why })).collect()
}

/// Says what is missing. In CI what every machine can have ends the run.
pub(crate) fn tell(missing: &[Missing]) -> anyhow::Result<()> {
    for Missing { part, why } in missing {
        say(&format!("{} is missing, and its tests are skipped: {why}", part.name()));
    }
    let needed: Vec<&str> =
        missing.iter().map(|missing| missing.part).filter(|part| part.everywhere()).map(Part::name).collect();
    if std::env::var_os("CI").is_some_and(|value| !value.is_empty()) && !needed.is_empty() {
        bail!("in CI nothing is skipped that a new machine can have: {} missing", needed.join(", "));
    }
    Ok(())
}

/// The tests that cannot run, as nextest filters them; none where everything can.
pub(crate) fn left_out(missing: &[Missing]) -> Option<String> {
    let tests: Vec<String> = missing.iter().map(|missing| format!("({})", missing.part.tests())).collect();
    (!tests.is_empty()).then(|| tests.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f04_what_is_missing_is_left_out_and_counted() {
        assert_eq!(left_out(&[]), None);
        let missing = [Part::Kvm, Part::Skopeo].map(|part| Missing { part, why: "as the test wants".to_owned() });
        assert_eq!(left_out(&missing).unwrap(), "(test(/needs_kvm/)) | (test(/needs_skopeo/))");
    }
}
