//! Sums and months.

use proptest::prelude::*;
use protocol::receipt::{Outcome, Usage};
use protocol::{ByteSize, Flag, Limits, Timestamp};

use super::sample::{NOW, any_runs, bare, full};
use crate::{Error, Month, ParseMonthError, Run, Totals};

#[test]
fn a_run_adds_what_it_adds_to_the_usage_report() {
    let limits = Limits { cpus: 2, memory: ByteSize::mib(128), ..Limits::default() };
    let totals = Totals::of(&Run { limits: Some(limits), ..full(1) });
    let wanted = Totals {
        runs: 1,
        failed: 1,
        flagged: 1,
        wall_us: 1_500_700,
        cpu_us: 1_200,
        // Whole KiB times whole milliseconds.
        memory_kib_ms: 64 * 1024 * 1500,
        reserved_cpu_us: 2 * 1_500_700,
        reserved_memory_kib_ms: 128 * 1024 * 1500,
        bytes_in: 10,
        bytes_out: 20,
        egress_bytes: 4096,
        ..Totals::default()
    };
    assert_eq!(totals, wanted);
    assert_eq!(Totals::of(&bare(1)), Totals { runs: 1, succeeded: 1, ..Totals::default() });
    let ended = |outcome| Totals::of(&Run { outcome, flag: Some(Flag::NoEnd), ..bare(1) });
    let flagged = Totals { runs: 1, flagged: 1, ..Totals::default() };
    assert_eq!(ended(Outcome::TimedOut), Totals { timed_out: 1, ..flagged });
    assert_eq!(ended(Outcome::Cancelled), Totals { cancelled: 1, ..flagged });
    assert_eq!(ended(Outcome::PlatformFailed), Totals { platform_failed: 1, ..flagged });
}

#[test]
fn sums_stop_at_their_end() {
    let billed = Usage { wall_us: u64::MAX, memory_peak: ByteSize(u64::MAX), ..Usage::default() };
    let run = Run { billed, limits: Some(Limits::default()), ..bare(1) };
    let share = Totals::of(&run);
    let most = i64::MAX.unsigned_abs();
    assert_eq!((share.wall_us, share.memory_kib_ms, share.reserved_cpu_us), (most, most, most));
    let sum = Totals::sum([&run, &run, &run]);
    assert_eq!((sum.runs, sum.wall_us), (3, u64::MAX));
}

#[test]
fn bytes_are_digits_and_the_rest_are_numbers() {
    let json = serde_json::to_value(Totals::of(&full(1))).unwrap();
    assert_eq!(json["bytes_in"], "10");
    assert_eq!(json["wall_us"], 1_500_700);
}

proptest! {
    #[test]
    fn what_was_added_can_be_taken(runs in any_runs(40, 20)) {
        // Without those that reach the end of a sum.
        let small = |run: &&Run| {
            let usage = run.billed;
            let sizes = [usage.memory_peak, usage.bytes_in, usage.bytes_out, usage.egress_bytes];
            usage.wall_us < 1 << 30 && usage.cpu_us < 1 << 50 && sizes.iter().all(|size| size.0 < 1 << 40)
        };
        let small: Vec<&Run> = runs.iter().filter(small).collect();
        let mut sum = Totals::sum(small.iter().copied());
        prop_assert_eq!(sum.runs, u64::try_from(small.len()).unwrap());
        prop_assert_eq!(sum.succeeded + sum.failed + sum.timed_out + sum.cancelled + sum.platform_failed, sum.runs);
        small.iter().for_each(|run| sum.take(&Totals::of(run)));
        prop_assert_eq!(sum, Totals::default());
    }

    #[test]
    fn a_month_is_how_its_times_begin(ms in -62_167_219_200_000_i64..253_402_300_800_000) {
        let month = Month::of(Timestamp(ms)).unwrap();
        prop_assert!(Timestamp(ms).to_string().starts_with(&month.to_string()));
        prop_assert_eq!(month.to_string().parse(), Ok(month));
    }
}

#[test]
fn times_without_a_text_have_no_month() {
    for ms in [i64::MIN, -62_167_219_200_001, 253_402_300_800_000, i64::MAX] {
        assert_eq!(Month::of(Timestamp(ms)), Err(Error::Time { ms }));
    }
    assert!(Month::of(NOW).unwrap() < "2026-12".parse().unwrap());
    for wrong in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "+026-11", "2026-+1", "２026-11"]
    {
        assert_eq!(wrong.parse::<Month>(), Err(ParseMonthError), "{wrong}");
    }
}
