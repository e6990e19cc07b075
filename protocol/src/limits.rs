//! What one run may use: the table of a version's limits. The command line's flags, the manifest's keys, the forms' fields,
//! the checks and their texts are made from it, so that a limit is added here and where it is enforced, and nowhere else
//! (docs/adding.md).
//!
//! On the wire a limit is a plain field: a part of an earlier release passes over one that it does not know, and whoever
//! gets none takes the default.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::field::Invalid;
use crate::manifest::Lane;
use crate::units::{ByteSize, Millis, ParseUnitError, parse_error};

macro_rules! limits {
    ($(
        #[doc = $help:literal]
        $name:ident: $kind:ident {
            flag: $flag:literal,
            label: $label:literal,
            default: $default:expr,
            min: $min:expr,
            max: $max:expr,
            wasm_max: $wasm_max:expr,
        }
    )*) => {
        /// What one run may use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(default)]
        pub struct Limits {
            $(#[doc = $help] pub $name: $kind,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The most that a version may ask for.
            pub const MAX: Self = Self { $($name: $max,)* };

            /// The most that the wasm lane grants: one CPU, and all that WebAssembly can address. What asks for more is
            /// of the VM lane.
            pub const WASM_MAX: Self = Self { $($name: $wasm_max,)* };

            /// The least that makes sense.
            pub const MIN: Self = Self { $($name: $min,)* };

            /// The table.
            pub const ALL: [Limit; [$($flag),*].len()] = [$(
                Limit {
                    name: stringify!($name),
                    flag: $flag,
                    label: $label,
                    help: $help,
                    unit: <$kind as Quantity>::UNIT,
                    get: |limits| limits.$name.into(),
                    set: |limits, amount| limits.$name = amount.into(),
                },
            )*];
        }

        /// Limits as users write them: an unknown key is a mistake. (On the wire it may be a later release's: see
        /// [`crate::wire`].)
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct WrittenLimits {
            $($name: $kind,)*
        }

        impl Default for WrittenLimits {
            fn default() -> Self {
                let Limits { $($name,)* } = Limits::default();
                Self { $($name,)* }
            }
        }

        impl From<WrittenLimits> for Limits {
            fn from(WrittenLimits { $($name,)* }: WrittenLimits) -> Self {
                Self { $($name,)* }
            }
        }
    };
}

limits! {
    /// Memory of an instance.
    memory: ByteSize {
        flag: "memory",
        label: "Memory",
        default: ByteSize::mib(128),
        min: ByteSize::mib(1),
        max: ByteSize::mib(65_536),
        wasm_max: ByteSize::mib(4096),
    }
    /// Wall time from the request's head to the answer's end.
    timeout: Millis {
        flag: "timeout",
        label: "Time limit",
        default: Millis::seconds(30),
        min: Millis(10),
        max: Millis::seconds(1800),
        wasm_max: Millis::seconds(900),
    }
    /// Bytes of a request's body, and of an answer's.
    body: ByteSize {
        flag: "body",
        label: "Body",
        default: ByteSize::mib(32),
        min: ByteSize(0),
        max: ByteSize::mib(512),
        wasm_max: ByteSize::mib(512),
    }
    /// Runs at once; each gateway counts its own.
    concurrency: u32 {
        flag: "concurrency",
        label: "Runs at once",
        default: 50,
        min: 1,
        max: 1000,
        wasm_max: 1000,
    }
    /// CPUs; the wasm lane grants one, more are of the VM lane.
    cpus: u32 {
        flag: "cpus",
        label: "CPUs",
        default: 1,
        min: 1,
        max: 64,
        wasm_max: 1,
    }
    /// Bytes that its own connections to other hosts carry, both ways.
    egress_bytes: ByteSize {
        flag: "egress-bytes",
        label: "Egress",
        default: ByteSize::mib(100),
        min: ByteSize(0),
        max: ByteSize::mib(102_400),
        wasm_max: ByteSize::mib(102_400),
    }
}

/// Hands those that a job may ask for, each for one try of its own, to a macro.
macro_rules! limits_of_jobs {
    ($then:ident) => {
        $then! {
            /// CPUs.
            cpus: u32;
            /// Memory.
            memory: ByteSize;
            /// The time limit of one try.
            timeout: Millis;
            /// Bytes that its own connections to other hosts carry, both ways.
            egress_bytes: ByteSize;
        }
    };
}
pub(crate) use limits_of_jobs;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $kind:ident;)*) => {
        const OF_JOBS: &[&str] = &[$(stringify!($name)),*];
    };
}
limits_of_jobs!(names);

/// Reads limits that a user has written.
pub(crate) fn written_limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    WrittenLimits::deserialize(deserializer).map(Limits::from)
}

/// What a limit counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Time,
    /// Pieces.
    Count,
}

impl Unit {
    /// How a value is written, for people.
    #[must_use]
    pub const fn written(self) -> &'static str {
        match self {
            Self::Bytes => "a size such as 128MiB",
            Self::Time => "a duration such as 30s",
            Self::Count => "a whole number such as 2",
        }
    }

    fn read(self, text: &str) -> Result<Amount, ParseUnitError> {
        match self {
            Self::Bytes => text.parse().map(ByteSize::into),
            Self::Time => text.parse().map(Millis::into),
            Self::Count => text.trim().parse().map(u32::into).map_err(|_| parse_error(text, self.written())),
        }
    }
}

/// A limit's value, whatever it counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    count: u64,
    unit: Unit,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Bytes => fmt::Display::fmt(&ByteSize(self.count), f),
            Unit::Time => fmt::Display::fmt(&Millis(self.count), f),
            Unit::Count => fmt::Display::fmt(&self.count, f),
        }
    }
}

/// The type of a limit.
trait Quantity: Into<Amount> + From<Amount> {
    const UNIT: Unit;
}

macro_rules! quantities {
    ($($kind:ty, $unit:ident, $count:expr, $from:expr;)*) => {$(
        impl Quantity for $kind {
            const UNIT: Unit = Unit::$unit;
        }

        impl From<$kind> for Amount {
            fn from(value: $kind) -> Self {
                let count: fn($kind) -> u64 = $count;
                Self { count: count(value), unit: Unit::$unit }
            }
        }

        impl From<Amount> for $kind {
            fn from(amount: Amount) -> Self {
                let from: fn(u64) -> Self = $from;
                from(amount.count)
            }
        }
    )*};
}

quantities! {
    ByteSize, Bytes, |size| size.0, ByteSize;
    Millis, Time, |time| time.0, Millis;
    u32, Count, u64::from, |count| u32::try_from(count).unwrap_or(u32::MAX);
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its field in the API, and its key in the manifest.
    pub name: &'static str,
    /// Its flag on the command line.
    pub flag: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// What it counts in.
    pub unit: Unit,
    help: &'static str,
    get: fn(&Limits) -> Amount,
    set: fn(&mut Limits, Amount),
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Limit {}

impl Limit {
    /// What it bounds, without a full stop.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help.trim().trim_end_matches('.')
    }

    /// Its value among these.
    #[must_use]
    pub fn of(&self, limits: &Limits) -> Amount {
        (self.get)(limits)
    }

    /// Changes its value among these.
    pub fn set(&self, limits: &mut Limits, amount: Amount) {
        (self.set)(limits, amount);
    }

    /// A value as people write it.
    ///
    /// # Errors
    /// Says how a value is written.
    pub fn read(&self, text: &str) -> Result<Amount, ParseUnitError> {
        self.unit.read(text)
    }

    /// `1 to 64`
    #[must_use]
    pub fn range(&self, min: &Limits, max: &Limits) -> String {
        format!("{} to {}", self.of(min), self.of(max))
    }

    /// Its field of a version: `limits.cpus`.
    #[must_use]
    pub fn field(&self) -> String {
        format!("limits.{}", self.name)
    }
}

/// What a guest's kernel and agent need beside the function.
const VM_OWN_MIB: u64 = 96;
/// The smallest VM.
const VM_MIN_MIB: u64 = 128;

impl Limits {
    /// Those that a job may ask for, each for one try of its own.
    pub fn of_jobs() -> impl Iterator<Item = Limit> {
        OF_JOBS.iter().filter_map(|name| Self::ALL.into_iter().find(|limit| limit.name == *name))
    }

    /// What a run takes of a node's memory: a VM has a kernel beside the function. Few sizes, so that VMs of one size
    /// share a template.
    #[must_use]
    pub fn memory_in(&self, lane: Lane) -> ByteSize {
        match lane {
            Lane::Wasm => self.memory,
            Lane::Vm => {
                let whole = (self.memory.0 >> 20).saturating_add(VM_OWN_MIB).max(VM_MIN_MIB);
                let step = (1 << whole.ilog2()) / 4;
                ByteSize(whole.div_ceil(step).saturating_mul(step) << 20)
            }
        }
    }

    /// The first field that is out of range, with the range.
    ///
    /// # Errors
    /// Names the field, its value and the allowed range.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_up_to(&Self::MAX)
    }

    /// The same with another maximum.
    ///
    /// # Errors
    /// Names the field, its value and the allowed range.
    pub fn check_up_to(&self, max: &Self) -> Result<(), Invalid> {
        for limit in Self::ALL {
            let value = limit.of(self);
            if value.count < limit.of(&Self::MIN).count || value.count > limit.of(max).count {
                let field = limit.field();
                let why = format!("{field} is {value}; allowed: {}", limit.range(&Self::MIN, max));
                return Err(Invalid::new(field, why));
            }
        }
        Ok(())
    }
}
