//! Reads a trace folder of the form of the Azure Functions 2019 sample: counts for each minute, and distributions of
//! duration and memory for each function. The data is never part of this repository.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::Lane;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::workload::{Arrival, FunctionSpec, Workload};

/// A function whose memory the trace does not know.
const MEMORY_UNKNOWN_MIB: f64 = 128.0;
/// Columns before the counts.
const HEAD: usize = 4;
/// At which shares of runs the durations are given.
const SHARES: [f64; 7] = [0.0, 0.01, 0.25, 0.50, 0.75, 0.99, 1.0];

/// Why a folder is not a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A row is not as the form says.
    #[error("{}: row {row}: {what}", path.display())]
    Row {
        /// In which file.
        path: PathBuf,
        /// Which, from 1, without the header.
        row: usize,
        /// What is wrong.
        what: String,
    },
    /// There is nothing in it.
    #[error("{}: no function that has durations is called", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// A trace, as read.
#[derive(Debug, Clone)]
pub struct Trace {
    name: String,
    functions: Vec<Traced>,
    minutes: usize,
}

#[derive(Debug, Clone)]
struct Traced {
    counts: Vec<u32>,
    /// In milliseconds, at `SHARES`.
    durations: [f64; SHARES.len()],
    memory_mib: f64,
}

impl Trace {
    /// Reads `invocations.csv`, `durations.csv` and `memory.csv`.
    ///
    /// # Errors
    /// Says which file and row is not as it should be.
    pub fn read(folder: &Path) -> Result<Self, TraceError> {
        let durations: HashMap<String, [f64; SHARES.len()]> =
            rows(&folder.join("durations.csv"), |row| Ok((text(row, 2)?, numbers(row, 7)?)))?.into_iter().collect();
        let memory: HashMap<String, f64> =
            rows(&folder.join("memory.csv"), |row| Ok((text(row, 0)?, numbers::<1>(row, 4)?[0])))?
                .into_iter()
                .collect();
        let called = rows(&folder.join("invocations.csv"), |row| {
            let counts = row.iter().skip(HEAD).map(|count| count.parse().map_err(|_| format!("`{count}` is no count")));
            Ok((text(row, 2)?, counts.collect::<Result<Vec<u32>, _>>()?))
        })?;
        let minutes = called.iter().map(|(_, counts)| counts.len()).max().unwrap_or(0);
        let functions: Vec<Traced> = called
            .into_iter()
            .filter_map(|(function, counts)| {
                let durations = *durations.get(&function)?;
                let memory_mib = memory.get(&function).copied().unwrap_or(MEMORY_UNKNOWN_MIB);
                Some(Traced { counts, durations, memory_mib })
            })
            .collect();
        if functions.iter().all(|function| function.counts.iter().all(|count| *count == 0)) {
            return Err(TraceError::Empty { path: folder.to_owned() });
        }
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { name, functions, minutes })
    }

    /// The folder's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arrivals, drawn inside each minute and from each function's distribution.
    ///
    /// `vm_share`: how many of the functions run in the VM lane, which the trace does not say.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations and memory are small")]
    pub fn workload(&self, seed: u64, vm_share: f64) -> Workload {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut functions = Vec::with_capacity(self.functions.len());
        let mut arrivals = Vec::new();
        for (place, traced) in self.functions.iter().enumerate() {
            let lane = if rng.random_bool(vm_share) { Lane::Vm } else { Lane::Wasm };
            functions.push(FunctionSpec::new(place, lane, traced.memory_mib.max(1.0) as u64));
            for (minute, count) in traced.counts.iter().enumerate() {
                for _ in 0..*count {
                    let at_us = minute as u64 * 60_000_000 + rng.random_range(0..60_000_000);
                    let run_us = (quantile(&traced.durations, rng.random()) * 1e3).max(100.0) as u64;
                    let function = u32::try_from(place).unwrap_or(u32::MAX);
                    arrivals.push(Arrival { at_us, function, run_us, input: 0 });
                }
            }
        }
        Workload::new(
            format!("trace {}", self.name),
            functions,
            arrivals,
            Duration::from_secs(self.minutes as u64 * 60),
        )
    }
}

/// Between two given percentiles, log-linear: the gaps between the upper ones span orders of magnitude.
fn quantile(durations: &[f64; SHARES.len()], share: f64) -> f64 {
    let upper = SHARES.partition_point(|given| *given < share).clamp(1, SHARES.len() - 1);
    let part = (share - SHARES[upper - 1]) / (SHARES[upper] - SHARES[upper - 1]);
    // The trace is in whole milliseconds: zero means less than one.
    let [low, high] = [durations[upper - 1], durations[upper]].map(|duration| duration.max(0.5).ln());
    (low + (high - low) * part).exp()
}

fn rows<T>(path: &Path, each: impl Fn(&csv::StringRecord) -> Result<T, String>) -> Result<Vec<T>, TraceError> {
    let unreadable = |source| TraceError::Read { path: path.to_owned(), source };
    let mut reader = csv::Reader::from_path(path).map_err(unreadable)?;
    let mut all = Vec::new();
    for (place, row) in reader.records().enumerate() {
        let row = row.map_err(unreadable)?;
        all.push(each(&row).map_err(|what| TraceError::Row { path: path.to_owned(), row: place + 1, what })?);
    }
    Ok(all)
}

fn text(row: &csv::StringRecord, column: usize) -> Result<String, String> {
    row.get(column).map(str::to_owned).ok_or_else(|| format!("there is no column {}", column + 1))
}

fn numbers<const N: usize>(row: &csv::StringRecord, from: usize) -> Result<[f64; N], String> {
    let mut numbers = [0.0; N];
    for (offset, number) in numbers.iter_mut().enumerate() {
        let cell = text(row, from + offset)?;
        *number = cell.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| format!("`{cell}` is no number"))?;
    }
    Ok(numbers)
}
