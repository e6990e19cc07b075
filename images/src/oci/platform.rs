//! Which of several images runs best on a machine: the one for its architecture, and of its variants the highest that the
//! machine has.

use serde::Deserialize;

use crate::image::Architecture;

/// Of x86-64, what a guest has however it is run: a translator has no more.
const LEVEL_MAX: u8 = 3;
const UNKNOWN: &str = "unknown";

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
}

impl Platform {
    /// How well it fits: the higher, the better; none where it does not run.
    pub(super) fn rank(&self, wanted: Architecture, level: u8) -> Option<u8> {
        if self.os != super::LINUX || self.architecture != wanted.name() {
            return None;
        }
        let variant = self.variant.as_deref().unwrap_or_default();
        match wanted {
            Architecture::Amd64 => {
                let needed = if variant.is_empty() { 1 } else { variant.strip_prefix('v')?.parse().ok()? };
                (1..=level).contains(&needed).then_some(needed)
            }
            Architecture::Arm64 => matches!(variant, "" | "v8" | "v8.0").then_some(1),
        }
    }

    /// BuildKit's word for what is no image.
    pub(super) fn is_unknown(&self) -> bool {
        self.os == UNKNOWN
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

/// The level of x86-64 that guests of this machine have.
pub(super) fn level() -> u8 {
    processor().min(LEVEL_MAX)
}

#[cfg(target_arch = "x86_64")]
fn processor() -> u8 {
    macro_rules! has {
        ($($feature:tt)*) => { $(is_x86_feature_detected!($feature))&&* };
    }
    if !has!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3") {
        1
    } else if !has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe") {
        2
    } else {
        3
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> u8 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(architecture: &str, variant: &str, level: u8) -> Option<u8> {
        let variant = (!variant.is_empty()).then(|| variant.to_owned());
        let platform = Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant };
        platform.rank(Architecture::Amd64, level)
    }

    #[test]
    fn f11_the_highest_variant_that_runs_is_best() {
        assert_eq!([rank("amd64", "", 3), rank("amd64", "v1", 3)], [Some(1), Some(1)]);
        assert_eq!([rank("amd64", "v3", 3), rank("amd64", "v3", 2)], [Some(3), None]);
        assert_eq!([rank("amd64", "v4", 3), rank("amd64", "v0", 3), rank("amd64", "x", 3)], [None; 3]);
        assert_eq!([rank("386", "", 3), rank("arm64", "v8", 3), rank("unknown", "", 3)], [None; 3]);
        let arm = |variant: &str| {
            let variant = Some(variant.to_owned());
            Platform { os: "linux".to_owned(), architecture: "arm64".to_owned(), variant }
        };
        assert_eq!([arm("v8"), arm("v9")].map(|arm| arm.rank(Architecture::Arm64, 1)), [Some(1), None]);
        assert_eq!(arm("v8").to_string(), "linux/arm64/v8");
    }
}
