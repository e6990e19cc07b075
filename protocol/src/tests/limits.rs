//! The table of limits is whole, and what is made of it agrees with it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::Limits;
use crate::job::{Asked, SubmitJob, TryLimits};
use crate::limits::{Limit, Unit};

fn limit(name: &str) -> Limit {
    Limits::ALL.into_iter().find(|limit| limit.name == name).unwrap()
}

#[test]
fn every_row_is_whole() {
    let flags: BTreeSet<&str> = Limits::ALL.iter().map(|limit| limit.flag).collect();
    assert_eq!(flags.len(), Limits::ALL.len(), "two limits have one flag");
    for limit in Limits::ALL {
        assert_eq!(limit.flag, limit.name.replace('_', "-"));
        assert!(!limit.label.is_empty() && !limit.help().is_empty() && !limit.help().ends_with('.'), "{limit:?}");
        for limits in [Limits::MIN, Limits::default(), Limits::WASM_MAX, Limits::MAX] {
            let amount = limit.of(&limits);
            assert_eq!(limit.read(&amount.to_string()), Ok(amount), "{limit:?}");
            let mut set = Limits::default();
            limit.set(&mut set, amount);
            assert_eq!(limit.of(&set), amount);
            limit.set(&mut set, limit.of(&Limits::default()));
            assert_eq!(set, Limits::default(), "{limit:?} sets another one");
        }
    }
    assert_eq!(Limits::default().check_up_to(&Limits::WASM_MAX), Ok(()));
    assert_eq!(Limits::WASM_MAX.check(), Ok(()));
}

#[test]
fn each_limit_is_checked_and_named() {
    for limit in Limits::ALL {
        let mut wrong = Limits::default();
        limit.set(&mut wrong, limit.read(if limit.unit == Unit::Time { "99d" } else { "4294967295" }).unwrap());
        // Some sizes have more room than that.
        if limit.unit == Unit::Bytes {
            limit.set(&mut wrong, limit.read("1024TiB").unwrap());
        }
        let refused = wrong.check().unwrap_err();
        assert_eq!(refused.field.as_str(), limit.field());
        let range = limit.range(&Limits::MIN, &Limits::MAX);
        assert_eq!(refused.why, format!("{} is {}; allowed: {range}", limit.field(), limit.of(&wrong)));
    }
}

#[test]
fn what_cannot_be_read_says_how_it_is_written() {
    let why = |name: &str, text: &str| limit(name).read(text).unwrap_err().to_string();
    assert_eq!(why("memory", "much"), "\"much\" is not a size such as 128MiB");
    assert_eq!(why("timeout", "soon"), "\"soon\" is not a duration such as 30s");
    assert_eq!(why("cpus", "-1"), "\"-1\" is not a whole number such as 2");
    assert_eq!(why("cpus", "4294967296"), "\"4294967296\" is not a whole number such as 2");
    for limit in Limits::ALL {
        assert!(limit.read("much").unwrap_err().to_string().ends_with(limit.unit.written()), "{limit:?}");
    }
}

#[test]
fn a_job_asks_for_its_own() {
    let version = Limits { concurrency: 3, ..Limits::default() };
    for limit in Limits::of_jobs() {
        let mut job = SubmitJob::of("f");
        assert_eq!(job.limits(version, &Limits::MAX), Ok(version));
        job.ask(limit, Asked::Value(limit.of(&Limits::MAX)));
        let limits = job.limits(version, &Limits::MAX).unwrap();
        assert_eq!(limit.of(&limits), limit.of(&Limits::MAX));
        assert_eq!(limits.concurrency, 3, "what only its version has");
        // By its name in the API, and what is out of range is refused with the range.
        let json = serde_json::to_value(&job).unwrap();
        assert!(json.as_object().unwrap().len() == 2 && json.get(limit.name).is_some(), "{json}");
        let refused = job.limits(version, &Limits::MIN).unwrap_err();
        assert_eq!(refused.field.as_str(), limit.name);
        assert!(refused.why.ends_with(&limit.range(&Limits::MIN, &Limits::MIN)), "{refused}");
        job.ask(limit, Asked::Other(json!("much")));
        assert!(job.limits(version, &Limits::MAX).unwrap_err().why.contains("is \"much\"; allowed: "));
    }
    let mut job = SubmitJob::of("f");
    job.ask(limit("concurrency"), Asked::Value(limit("concurrency").of(&version)));
    assert_eq!(job, SubmitJob::of("f"), "no job has one");
}

#[test]
fn a_job_shows_its_limits_among_its_fields() {
    let shown = serde_json::to_value(TryLimits::from(Limits::WASM_MAX)).unwrap();
    for limit in Limits::of_jobs() {
        assert_eq!(shown[limit.name], serde_json::to_value(Limits::WASM_MAX).unwrap()[limit.name]);
    }
    // An earlier release says less.
    assert_eq!(serde_json::from_value::<TryLimits>(json!({})).unwrap(), Limits::default().into());
}
