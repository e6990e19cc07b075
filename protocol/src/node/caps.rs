//! Caps of a machine: what was agreed when its node was started, and wishes, which only lower it.

use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// What is lent at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Caps {
    /// Cores.
    pub cores: u32,
    /// Memory: the sum of the limits of all runs at once.
    pub memory: ByteSize,
    /// Disk space, for artifacts and images.
    pub disk: ByteSize,
    /// Traffic of a calendar month; none: as much as there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<ByteSize>,
    /// Whether guests may connect to other hosts.
    pub egress: bool,
}

/// Caps that somebody wants; what is left out stays as it was agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CapsWish {
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Disk space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Traffic of a calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<ByteSize>,
    /// Whether guests may connect to other hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<bool>,
}

impl CapsWish {
    /// This wish, and what a later one says beside it or instead.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            cores: later.cores.or(self.cores),
            memory: later.memory.or(self.memory),
            disk: later.disk.or(self.disk),
            traffic: later.traffic.or(self.traffic),
            egress: later.egress.or(self.egress),
        }
    }

    /// Whether anything could run with these caps.
    ///
    /// # Errors
    /// The first cap with which nothing could.
    pub fn suffice(&self) -> Result<(), Below> {
        let below = |cap, least: String| Err(Below { cap, least });
        if self.cores.is_some_and(|cores| cores < Caps::CORES_MIN) {
            return below("cores", Caps::CORES_MIN.to_string());
        }
        let sizes = [
            ("memory", self.memory, Caps::MEMORY_MIN),
            ("disk", self.disk, Caps::DISK_MIN),
            ("traffic", self.traffic, Caps::TRAFFIC_MIN),
        ];
        match sizes.into_iter().find(|(_, size, least)| size.is_some_and(|size| size < *least)) {
            Some((cap, _, least)) => below(cap, least.to_string()),
            None => Ok(()),
        }
    }
}

/// A wish with which nothing could run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at least {least} is lent; to lend nothing, pause the node")]
pub struct Below {
    /// Which cap, as its flag is called.
    pub cap: &'static str,
    /// The least that is lent.
    pub least: String,
}

/// A wish that asks for more than was agreed when the node was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cap}: {agreed} was agreed when the node was started, and a wish only lowers it")]
pub struct Above {
    /// Which cap, as its flag is called.
    pub cap: &'static str,
    /// What was agreed.
    pub agreed: String,
}

impl Caps {
    /// The fewest cores that are lent.
    pub const CORES_MIN: u32 = 1;
    /// The least memory that is lent: with less, nothing could run.
    pub const MEMORY_MIN: ByteSize = ByteSize::mib(16);
    /// The least disk space that is lent.
    pub const DISK_MIN: ByteSize = ByteSize::mib(64);
    /// The least traffic of a calendar month that is lent.
    pub const TRAFFIC_MIN: ByteSize = ByteSize::mib(1);

    /// The lesser of both, cap by cap. At least one core is lent, as long as anything is.
    #[must_use]
    pub fn lowered_by(self, wish: &CapsWish) -> Self {
        Self {
            cores: wish.cores.map_or(self.cores, |cores| cores.min(self.cores)).max(Self::CORES_MIN),
            memory: wish.memory.map_or(self.memory, |memory| memory.min(self.memory)),
            disk: wish.disk.map_or(self.disk, |disk| disk.min(self.disk)),
            traffic: [self.traffic, wish.traffic].into_iter().flatten().min(),
            egress: self.egress && wish.egress.unwrap_or(true),
        }
    }

    /// Whether a wish stays within what was agreed.
    ///
    /// # Errors
    /// The first cap that it would raise.
    pub fn allow(&self, wish: &CapsWish) -> Result<(), Above> {
        let above = |cap, agreed: String| Err(Above { cap, agreed });
        if wish.cores.is_some_and(|cores| cores > self.cores) {
            return above("cores", self.cores.to_string());
        }
        if wish.memory.is_some_and(|memory| memory > self.memory) {
            return above("memory", self.memory.to_string());
        }
        if wish.disk.is_some_and(|disk| disk > self.disk) {
            return above("disk", self.disk.to_string());
        }
        if let Some(agreed) = self.traffic
            && wish.traffic.is_some_and(|traffic| traffic > agreed)
        {
            return above("traffic", agreed.to_string());
        }
        if wish.egress == Some(true) && !self.egress {
            return above("egress", "off".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGREED: Caps = Caps {
        cores: 4,
        memory: ByteSize::mib(4096),
        disk: ByteSize::mib(8192),
        traffic: Some(ByteSize::mib(100)),
        egress: false,
    };

    fn wishes() -> impl Strategy<Value = CapsWish> {
        let size = |max: u64| proptest::option::of((0..max).prop_map(ByteSize::mib));
        let flag = proptest::option::of(any::<bool>());
        (proptest::option::of(0_u32..9), size(9000), size(9000), size(300), flag)
            .prop_map(|(cores, memory, disk, traffic, egress)| CapsWish { cores, memory, disk, traffic, egress })
    }

    proptest! {
        #[test]
        fn a_wish_only_lowers(wish in wishes(), again in wishes()) {
            let caps = AGREED.lowered_by(&wish);
            prop_assert!(caps.cores <= AGREED.cores && caps.cores >= 1);
            prop_assert!(caps.memory <= AGREED.memory && caps.disk <= AGREED.disk);
            prop_assert!(caps.traffic <= AGREED.traffic && caps.traffic.is_some() && !caps.egress);
            prop_assert_eq!(caps.lowered_by(&wish), caps);
            prop_assert_eq!(caps.lowered_by(&again), AGREED.lowered_by(&again).lowered_by(&wish));
        }
    }

    #[test]
    fn what_would_raise_a_cap_is_named() {
        let refused = |wish: CapsWish| AGREED.allow(&wish).unwrap_err().cap;
        assert_eq!(refused(CapsWish { cores: Some(5), ..CapsWish::default() }), "cores");
        assert_eq!(refused(CapsWish { memory: Some(ByteSize::mib(4097)), ..CapsWish::default() }), "memory");
        assert_eq!(refused(CapsWish { disk: Some(ByteSize::mib(8193)), ..CapsWish::default() }), "disk");
        assert_eq!(refused(CapsWish { traffic: Some(ByteSize::mib(101)), ..CapsWish::default() }), "traffic");
        assert_eq!(refused(CapsWish { egress: Some(true), ..CapsWish::default() }), "egress");
        assert_eq!(AGREED.allow(&CapsWish { cores: Some(4), egress: Some(false), ..CapsWish::default() }), Ok(()));
    }
    #[test]
    fn caps_with_which_nothing_could_run_are_named_with_the_least() {
        let least = |wish: CapsWish| wish.suffice().map_err(|Below { cap, least }| (cap, least));
        let size = |size: ByteSize| Some(ByteSize(size.0 - 1));
        for (wish, refused) in [
            (CapsWish { cores: Some(0), ..CapsWish::default() }, ("cores", "1")),
            (CapsWish { memory: size(Caps::MEMORY_MIN), ..CapsWish::default() }, ("memory", "16MiB")),
            (CapsWish { disk: size(Caps::DISK_MIN), ..CapsWish::default() }, ("disk", "64MiB")),
            (CapsWish { traffic: size(Caps::TRAFFIC_MIN), ..CapsWish::default() }, ("traffic", "1MiB")),
        ] {
            assert_eq!(least(wish), Err((refused.0, refused.1.to_owned())));
        }
        let enough = CapsWish {
            cores: Some(Caps::CORES_MIN),
            memory: Some(Caps::MEMORY_MIN),
            disk: Some(Caps::DISK_MIN),
            traffic: Some(Caps::TRAFFIC_MIN),
            egress: Some(false),
        };
        assert_eq!((least(enough), least(CapsWish::default())), (Ok(()), Ok(())));
    }

    #[test]
    fn a_later_wish_counts_where_it_says_something() {
        let first = CapsWish { cores: Some(2), egress: Some(false), ..CapsWish::default() };
        let later = CapsWish { cores: Some(3), memory: Some(ByteSize::mib(64)), ..CapsWish::default() };
        let both = CapsWish { memory: Some(ByteSize::mib(64)), cores: Some(3), ..first };
        assert_eq!((first.then(later), first.then(CapsWish::default())), (both, first));
    }
}
