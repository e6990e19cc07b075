//! Active resource utilization: what runs used of CPU and memory, against what was reserved for them.

use protocol::api::UsageSums;
use sycamore::prelude::*;

use super::columns::{columns, spans, whole};
use super::data::{Subject, Told};
use super::grid::{Grid, Line};
use crate::charts::model::Kind;
use crate::charts::{Card, Chart, Unit, shown};
use crate::format::wide;
use crate::ui::period::Span;
use crate::ui::time::now_ms;

/// Both charts.
pub(super) fn utilization(subject: &Subject) -> View {
    let told = subject.moved;
    let of = subject.clone();
    let cpu = shown(*told.data, move |told| draw(&of, &told, Resource::Cpu));
    let of = subject.clone();
    let memory = shown(*told.data, move |told| draw(&of, &told, Resource::Memory));
    let cpu = Card {
        id: "cpu",
        title: "CPU utilization",
        definition: "CPUs in use on average, and CPUs that the runs might have used. A run counts where it began.",
        controls: view! {},
        nothing: "Nothing ran in this period.",
        below: view! {},
    }
    .view(cpu);
    let memory = Card {
        id: "memory",
        title: "Memory utilization",
        definition: "The most that each run held, for as long as it ran, and what it might have held.",
        controls: view! {},
        nothing: "Nothing ran in this period.",
        below: view! {},
    }
    .view(memory);
    view! { div(class="chart-pair") { (cpu) (memory) } }
}

#[derive(Clone, Copy)]
enum Resource {
    Cpu,
    Memory,
}

impl Resource {
    /// Used and reserved, over time: in microseconds of CPU, or KiB times milliseconds.
    const fn sums(self, sums: &UsageSums) -> [u64; 2] {
        match self {
            Self::Cpu => [sums.cpu_us, sums.reserved_cpu_us],
            Self::Memory => [sums.memory_kib_ms, sums.reserved_memory_kib_ms],
        }
    }

    /// The average over so many milliseconds: CPUs, or bytes.
    fn average(self, sum: u64, ms: i64) -> f64 {
        let ms = wide(u64::try_from(ms).unwrap_or(0).max(1));
        match self {
            Self::Cpu => wide(sum) / (ms * 1_000.0),
            Self::Memory => wide(sum) * 1_024.0 / ms,
        }
    }
}

fn draw(subject: &Subject, told: &Told, resource: Resource) -> Chart {
    let Told { asked, span, report } = told;
    let spans = spans(*span, asked.period.column_ms());
    let columns = columns(asked.period, &spans);
    let now = now_ms();
    let mut values = averages(&whole(&report.items, &spans, |_| true), &spans, resource, now);
    let most = values.iter().flatten().flatten().copied().fold(0.0, f64::max);
    let unit = match resource {
        Resource::Cpu => Unit::Cpus,
        Resource::Memory => Unit::bytes_for(most),
    };
    values.iter_mut().flatten().flatten().for_each(|value| *value /= unit.size());
    let [used, reserved] = values;
    let rows: Vec<Option<String>> = spans.iter().map(|span| Some(asked.runs(&subject.here, *span, &[]))).collect();
    let line = |name: &str, colour: &str, values| Line {
        name: name.to_owned(),
        colour: colour.to_owned(),
        values,
        links: rows.clone(),
        compared: false,
    };
    let grid = Grid {
        kind: Kind::Lines,
        title: match resource {
            Resource::Cpu => "CPUs",
            Resource::Memory => "Memory",
        },
        when: "Time",
        unit,
        columns: &columns,
        marks: subject.marks(&spans),
    };
    grid.chart(vec![line("used", "accent", used), line("reserved", "chart-other", reserved)], false)
}

/// Used and reserved in each column; none in those that lie ahead.
fn averages(all: &[UsageSums], spans: &[Span], resource: Resource, now_ms: i64) -> [Vec<Option<f64>>; 2] {
    let mut values = [Vec::new(), Vec::new()];
    for (span, sums) in spans.iter().zip(all) {
        let passed_ms = span.to.0.min(now_ms) - span.from.0;
        for (values, sum) in values.iter_mut().zip(resource.sums(sums)) {
            values.push((passed_ms > 0).then(|| resource.average(sum, passed_ms)));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::api::UsageSums;

    use super::{Resource, averages};
    use crate::pages::analytics::columns::spans;
    use crate::ui::period::Span;

    #[test]
    fn averages_are_over_what_has_passed() {
        let spans = spans(Span { from: Timestamp(0), to: Timestamp(180_000) }, 60_000);
        let sums = UsageSums { cpu_us: 30_000_000, reserved_cpu_us: 60_000_000, ..UsageSums::default() };
        let [used, reserved] = averages(&[sums; 3], &spans, Resource::Cpu, 90_000);
        assert_eq!(used, [Some(0.5), Some(1.0), None]);
        assert_eq!(reserved, [Some(1.0), Some(2.0), None]);
        let [used, _] = averages(&[UsageSums::default(); 3], &spans, Resource::Memory, 90_000);
        assert_eq!(used, [Some(0.0), Some(0.0), None]);
        assert_eq!(Resource::Memory.average(1_024 * 60_000, 60_000), 1_048_576.0);
    }
}
