//! What the values of a chart are, and how they are written on axes, in tips and in tables.

use crate::format;

/// A quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things that are counted.
    #[default]
    Count,
    /// A duration in microseconds.
    Micros,
    /// Hours of one CPU.
    CpuHours,
    /// A GiB for an hour.
    GibHours,
    /// CPUs, on average.
    Cpus,
    /// Bytes, in one of these units: round figures on the axis are then round in it.
    Bytes(BytesIn),
}

/// A unit of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BytesIn {
    Bytes,
    Kib,
    Mib,
    Gib,
    Tib,
}

impl BytesIn {
    const ALL: [Self; 5] = [Self::Bytes, Self::Kib, Self::Mib, Self::Gib, Self::Tib];

    const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "B",
            Self::Kib => "KiB",
            Self::Mib => "MiB",
            Self::Gib => "GiB",
            Self::Tib => "TiB",
        }
    }

    const fn size(self) -> f64 {
        match self {
            Self::Bytes => 1.0,
            Self::Kib => 1_024.0,
            Self::Mib => 1_048_576.0,
            Self::Gib => 1_073_741_824.0,
            Self::Tib => 1_099_511_627_776.0,
        }
    }
}

impl Unit {
    /// Bytes by the GiB.
    pub(crate) const GIB: Self = Self::Bytes(BytesIn::Gib);

    /// Bytes, in the largest unit of which the most of them are one at least.
    pub(crate) fn bytes_for(most: f64) -> Self {
        let fits = |unit: &BytesIn| unit.size() <= most;
        Self::Bytes(BytesIn::ALL.into_iter().rev().find(fits).unwrap_or(BytesIn::Bytes))
    }

    /// Of a number of which nothing is known: a count where it is whole.
    pub(crate) fn of_amount(value: f64) -> Self {
        if value.fract() == 0.0 { Self::Count } else { Self::Cpus }
    }

    /// How much of what is measured one of it is.
    pub(crate) const fn size(self) -> f64 {
        match self {
            Self::Bytes(unit) => unit.size(),
            _ => 1.0,
        }
    }

    /// A value as people read it. Axes have round figures, of which noughts after the point say nothing.
    pub(crate) fn write(self, value: f64) -> String {
        let text = match self {
            Self::Count => format::compact(whole(value)),
            Self::Micros => format::micros(whole(value)),
            Self::CpuHours => format!("{} CPU-h", format::figures(value)),
            Self::GibHours => format!("{} GiB-h", format::figures(value)),
            Self::Cpus => format::figures(value),
            Self::Bytes(unit) => format!("{} {}", format::figures(value), unit.name()),
        };
        short(&text)
    }

    /// A value in a table: nothing is left out of what is counted.
    pub(crate) fn write_whole(self, value: f64) -> String {
        match self {
            Self::Count => format::thousands(whole(value)),
            _ => self.write(value),
        }
    }

    /// Whether there is nothing between two whole numbers.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::Count)
    }
}

/// A number, perhaps with a unit, without noughts at the end of its fraction.
fn short(text: &str) -> String {
    let end = text.rfind(|c: char| c.is_ascii_digit()).map_or(0, |last| last + 1);
    let (number, unit) = text.split_at(end);
    if !number.contains('.') {
        return text.to_owned();
    }
    format!("{}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

/// The nearest whole number; what is no number, or below nothing, is nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float stops at the ends")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[test]
    fn values_are_written_with_their_unit() {
        let texts = [(Unit::Count, 40_000.0), (Unit::Micros, 90_000.0), (Unit::CpuHours, 1.5), (Unit::GIB, 2.0)];
        assert_eq!(texts.map(|(unit, value)| unit.write(value)), ["40k", "90 ms", "1.5 CPU-h", "2 GiB"]);
        assert_eq!(Unit::Count.write_whole(41_250.0), "41\u{202f}250");
        assert_eq!(Unit::Count.write(f64::NAN), "0");
    }

    #[test]
    fn bytes_have_the_unit_that_fits_them() {
        for (most, wanted) in [(0.0, "B"), (1_023.0, "B"), (1_024.0, "KiB"), (3e9, "GiB"), (1e18, "TiB")] {
            assert!(Unit::bytes_for(most).write(1.0).ends_with(&format!(" {wanted}")), "{most}");
        }
    }
}
