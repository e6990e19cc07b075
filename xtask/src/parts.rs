//! What tests need of the machine beside compilers. What a machine lacks is said before the first test; the tests that
//! need it are left out and counted as skipped. In CI (`CI` is set, as `.ci/run` does) a missing part ends the run, but
//! for those that its machines cannot have, so that nothing passes for not having run.

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
    /// Networks of their own and slow links between them, for tests that are several hosts; root makes them.
    Namespaces,
    /// A kernel that lets a process confine itself.
    Landlock,
    /// Writes archives as other tools than ours do.
    Skopeo,
    /// Hardware that runs guests.
    Kvm,
}

/// Asks the kernel for its version of Landlock, by the number that the call has on every processor.
const LANDLOCK: &str = "import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 1)";

/// A link between two hosts, and a slow one.
const LINKS: &str =
    "ip link add name one type veth peer name two && tc qdisc add dev one root tbf rate 1mbit burst 16kb latency 1s";

/// What CI may lack: its machines are guests themselves. Whatever else is missing there ends the run.
const CI_MAY_LACK: [Part; 1] = [Part::Kvm];

/// Whether this is CI, as CI's machines and `.ci/run` say by `CI`.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
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
            Self::Landlock => "Landlock",
            Self::Skopeo => "skopeo",
            Self::Kvm => "KVM",
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
            Self::Landlock => "test(/needs_landlock/)",
            Self::Skopeo => "test(/needs_skopeo/)",
            Self::Kvm => "test(/needs_kvm/)",
        }
    }

    fn look(self) -> Result<(), String> {
        let program = |name: &str| provision::find(name).map(drop).ok_or_else(|| format!("`{name}` is not there"));
        match self {
            // Only their set-up can tell: see `tools::vm::prepare`, `tools::images::prepare`, `tools::axe` and `portal`.
            Self::Vm | Self::Images | Self::Axe | Self::Charts => Ok(()),
            Self::Postgres => program("initdb"),
            Self::Browser => program("chromium").and_then(|()| program("chromedriver")),
            Self::Namespaces => {
                if !apt::is_root() {
                    return Err("only root can make them".to_owned());
                }
                let made = quiet(Command::new("unshare").args(["--net", "sh", "-c", LINKS]));
                made.map(drop).map_err(|error| format!("{error:#}"))
            }
            Self::Landlock => {
                let asked = quiet(Command::new("python3").args(["-c", LANDLOCK]));
                asked.map(drop).map_err(|_| "the kernel has none, or it is not enabled".to_owned())
            }
            Self::Skopeo => program("skopeo"),
            // The generic module alone may be a host's own that runs no ordinary guest.
            Self::Kvm if ["kvm_intel", "kvm_amd"].iter().any(|name| Path::new("/sys/module").join(name).is_dir()) => {
                Ok(())
            }
            Self::Kvm => Err("no processor's module is loaded".to_owned()),
        }
    }
}

/// What is not there, as far as that can be told without their set-up.
pub(crate) fn missing() -> Vec<Missing> {
    use Part::{Browser, Kvm, Landlock, Namespaces, Postgres, Skopeo, Vm};
    let all = [Vm, Postgres, Browser, Namespaces, Landlock, Skopeo, Kvm];
    all.into_iter().filter_map(|part| part.look().err().map(|why| Missing { part, why })).collect()
}

/// Says what is missing. In CI it ends the run, but for what CI may lack.
pub(crate) fn tell(missing: &[Missing]) -> anyhow::Result<()> {
    tell_in(is_ci(), missing)
}

fn tell_in(ci: bool, missing: &[Missing]) -> anyhow::Result<()> {
    for Missing { part, why } in missing {
        say(&format!("{} is missing, and its tests are skipped: {why}", part.name()));
    }
    let parts = missing.iter().map(|missing| missing.part);
    let needed: Vec<&str> = parts.filter(|part| !CI_MAY_LACK.contains(part)).map(Part::name).collect();
    if ci && !needed.is_empty() {
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

    #[test]
    fn in_ci_a_missing_part_ends_the_run_and_elsewhere_it_is_skipped() {
        let missing = |part| [Missing { part, why: "as the test wants".to_owned() }];
        for part in
            [Part::Vm, Part::Postgres, Part::Browser, Part::Namespaces, Part::Landlock, Part::Images, Part::Skopeo]
        {
            let error = tell_in(true, &missing(part)).unwrap_err().to_string();
            assert!(error.contains(part.name()), "{error}");
            tell_in(false, &missing(part)).unwrap();
        }
        for part in CI_MAY_LACK {
            tell_in(true, &missing(part)).unwrap();
        }
        assert!(include_str!("../../.ci/run").contains("\nexport CI="), "it says that it is CI");
    }
}
