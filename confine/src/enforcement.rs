//! What a kernel enforces of a confinement, and what is missing, by name.

use std::fmt;

use crate::confinement::{Confinement, Network};

/// What the kernel enforces. Privileges, identity and limits need nothing of it that any kernel lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforcement {
    /// All that was asked for.
    Full,
    /// All but this.
    Partial(Vec<Gap>),
    /// Neither Landlock nor seccomp is there.
    None,
}

/// Something that is not enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// No Landlock: files, ports and signals are not restricted.
    Landlock,
    /// Files that may not be written can be shortened.
    Truncate,
    /// TCP reaches every port.
    TcpPorts,
    /// Devices that may be read can be controlled.
    Devices,
    /// Signals and abstract sockets reach all processes of the same user.
    Scopes,
    /// Sockets in folders that may not be read can be connected to.
    UnixSockets,
    /// Threads that ran already have no restriction by Landlock.
    OtherThreads,
    /// No seccomp: no call and no socket is refused.
    Seccomp,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Landlock => "Landlock (Linux 5.13, and enabled): files, ports and signals",
            Self::Truncate => "shortening of files (Linux 6.2)",
            Self::TcpPorts => "TCP ports (Linux 6.7)",
            Self::Devices => "control of devices (Linux 6.10)",
            Self::Scopes => "signals and abstract sockets (Linux 6.12)",
            Self::UnixSockets => "connections to sockets by path (Linux 7.1)",
            Self::OtherThreads => "threads that ran already (Linux 7.0)",
            Self::Seccomp => "seccomp: system calls and sockets",
        })
    }
}

impl Enforcement {
    /// What is missing; none where all is enforced.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        match self {
            Self::Full => &[],
            Self::Partial(gaps) => gaps,
            Self::None => &[Gap::Landlock, Gap::Seccomp],
        }
    }

    /// Whether files or calls are not restricted at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gaps().iter().any(|gap| matches!(gap, Gap::Landlock | Gap::Seccomp))
    }

    /// As a sentence's end for people: each gap by its name.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let names: Vec<String> = self.gaps().iter().map(Gap::to_string).collect();
        (!names.is_empty()).then(|| names.join("; "))
    }

    /// With one more gap.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is enforced there"))]
    pub(crate) fn without(self, gap: Gap) -> Self {
        match self {
            Self::Full => Self::Partial(vec![gap]),
            Self::Partial(gaps) => Self::Partial(gaps.into_iter().chain([gap]).collect()),
            Self::None => Self::None,
        }
    }
}

/// What a kernel has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// The version of its Landlock; 0: none.
    pub(crate) landlock: i32,
    pub(crate) seccomp: bool,
}

impl Kernel {
    pub(crate) fn enforces(self, confinement: &Confinement) -> Enforcement {
        let Self { landlock, seccomp } = self;
        if landlock < 1 && !seccomp {
            return Enforcement::None;
        }
        let network = &confinement.network;
        // What seccomp refuses altogether, Landlock need not restrict.
        let since = [
            (3, Gap::Truncate, true),
            (4, Gap::TcpPorts, matches!(network, Network::Tcp(_) | Network::Internet)),
            (5, Gap::Devices, true),
            (6, Gap::Scopes, true),
            (9, Gap::UnixSockets, network.is_local()),
        ];
        let mut gaps: Vec<Gap> = if landlock < 1 {
            vec![Gap::Landlock]
        } else {
            since.into_iter().filter(|(since, _, needed)| landlock < *since && *needed).map(|(_, gap, _)| gap).collect()
        };
        if !seccomp {
            gaps.push(Gap::Seccomp);
        }
        if gaps.is_empty() { Enforcement::Full } else { Enforcement::Partial(gaps) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_named() {
        let strict = Confinement::default();
        let tcp = Confinement { network: Network::Tcp(vec![443]), ..Confinement::default() };
        let of = |landlock, seccomp, confinement: &Confinement| Kernel { landlock, seccomp }.enforces(confinement);
        assert_eq!(of(0, false, &strict), Enforcement::None);
        assert_eq!(of(0, true, &strict), Enforcement::Partial(vec![Gap::Landlock]));
        assert_eq!(of(1, true, &strict), Enforcement::Partial(vec![Gap::Truncate, Gap::Devices, Gap::Scopes]));
        assert_eq!(of(6, true, &strict), Enforcement::Full);
        assert_eq!(of(6, false, &strict), Enforcement::Partial(vec![Gap::Seccomp]));
        let local = Confinement { network: Network::Local, ..Confinement::default() };
        assert_eq!(of(3, true, &tcp).gaps(), [Gap::TcpPorts, Gap::Devices, Gap::Scopes]);
        assert_eq!(of(6, true, &tcp).missing(), None);
        assert_eq!(of(7, true, &local), Enforcement::Partial(vec![Gap::UnixSockets]));
        assert_eq!(of(9, true, &local).missing(), None);
        let missing = of(0, false, &strict).missing().unwrap();
        assert!(missing.contains("Landlock") && missing.contains("seccomp"), "{missing}");
    }
}
