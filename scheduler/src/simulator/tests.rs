//! The simulator keeps its accounts: every arrival ends once, nothing runs where it may not, the same seed gives the
//! same figures; and the learned policy is worth it, on a small cluster in seconds.

use std::collections::HashSet;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::*;
use crate::{Policy, Tuning};

const LEARNED: Duration = Duration::from_mins(20);
const LENGTH: Duration = Duration::from_mins(40);

fn small(seed: u64, load: f64, fails_every_s: f64) -> (Workload, Cluster) {
    let workload = generate(60, LENGTH, 0.5, seed);
    let spec = ClusterSpec { fails_every_s, ..ClusterSpec::default() };
    let capacity = (workload.work(LEARNED, LENGTH) / load).max(8.0);
    let cluster = Cluster::of_capacity(capacity, spec, &mut SmallRng::seed_from_u64(seed));
    (workload, cluster)
}

fn entrants() -> Vec<Box<dyn Policy>> {
    ENTRANTS.iter().map(|entrant| entrant(&Tuning::default())).collect()
}

fn simulate(workload: &Workload, cluster: &Cluster, policy: &mut dyn Policy, seed: u64) -> Outcome {
    run(workload, cluster, policy, Some(Learning { at: LEARNED }), (LEARNED, LENGTH), seed)
}

#[test]
fn every_arrival_ends_once_whatever_fails() {
    // A node fails every ten minutes.
    let (workload, cluster) = small(1, 0.7, 600.0);
    for mut policy in entrants() {
        let outcome = simulate(&workload, &cluster, policy.as_mut(), 1);
        let runs: HashSet<u32> = outcome.ended.iter().map(|ended| ended.run).collect();
        assert_eq!(runs.len(), outcome.ended.len(), "{}: a run ended twice", policy.name());
        assert_eq!(runs.len(), workload.arrivals.len(), "{}: a run was lost", policy.name());
        assert!(outcome.ended.iter().any(|ended| ended.starts > 1), "no failure hit a run");
    }
}

#[test]
fn no_node_does_more_than_it_can() {
    let (workload, cluster) = small(2, 0.9, 3_600.0);
    for mut policy in entrants() {
        let outcome = simulate(&workload, &cluster, policy.as_mut(), 2);
        for (node, spec) in (0_u32..).zip(&cluster.nodes) {
            // Starts and ends, in order of time: never more at once than cores, nor than memory.
            let mut changes = Vec::new();
            for ended in outcome.ended.iter().filter(|ended| ended.node == node) {
                let arrival = &workload.arrivals[ended.run as usize];
                let memory = i64::try_from(workload.functions[arrival.function as usize].memory_mib).unwrap();
                assert!(ended.started_us >= arrival.at_us && ended.at_us > ended.started_us);
                let least_us = arrival.run_us as f64 / spec.speed - 1.0;
                assert!((ended.at_us - ended.started_us) as f64 >= least_us, "faster than the node is");
                changes.push((ended.started_us, 1, memory));
                changes.push((ended.at_us, -1, -memory));
            }
            changes.sort_unstable();
            let (mut running, mut held) = (0, 0);
            for (_, runs, memory) in changes {
                (running, held) = (running + runs, held + memory);
                assert!(running <= i64::from(spec.cores), "{}: {running} runs at once", policy.name());
                assert!(held <= i64::try_from(spec.memory_mib).unwrap(), "{}: {held} MiB held", policy.name());
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_ends() {
    let (workload, cluster) = small(3, 0.8, 3_600.0);
    for (mut first, mut second) in entrants().into_iter().zip(entrants()) {
        let once = simulate(&workload, &cluster, first.as_mut(), 3).ended;
        let again = simulate(&workload, &cluster, second.as_mut(), 3).ended;
        assert!(once == again, "{} differs", first.name());
        let other = simulate(&workload, &cluster, first.as_mut(), 4).ended;
        assert!(once != other, "{} does not depend on the seed", first.name());
    }
}

#[test]
fn clusters_are_as_large_as_asked_and_unequal() {
    for seed in 0..20 {
        let cluster = Cluster::of_capacity(60.0, ClusterSpec::default(), &mut SmallRng::seed_from_u64(seed));
        assert!((cluster.capacity() - 60.0).abs() < 3.0, "{}", cluster.capacity());
        assert!(cluster.nodes.iter().all(|node| (0.5..=2.0).contains(&node.speed)));
        let speeds = cluster.nodes.iter().map(|node| node.speed);
        assert!(speeds.clone().fold(0.0, f64::max) > 1.3 * speeds.fold(9.0, f64::min));
    }
}

#[test]
fn generated_functions_are_as_published() {
    let workload = generate(2_000, Duration::from_hours(4), 0.5, 1);
    let mut counts = vec![0_u32; workload.functions.len()];
    for arrival in &workload.arrivals {
        counts[arrival.function as usize] += 1;
    }
    let share = |at_most: u32| counts.iter().filter(|count| **count <= at_most).count() as f64 / 2_000.0;
    // At most hourly: 45 %; at most once a minute: 81 %.
    assert!((0.38..0.54).contains(&share(4)), "{}", share(4));
    assert!((0.75..0.87).contains(&share(240)), "{}", share(240));
    counts.sort_unstable();
    let popular: u32 = counts[1_600..].iter().sum();
    assert!(f64::from(popular) > 0.95 * workload.arrivals.len() as f64);
    assert!(workload.arrivals.is_sorted_by_key(|arrival| arrival.at_us));
}

#[test]
fn a_trace_folder_is_read_and_a_broken_one_is_named() {
    let folder = std::env::temp_dir().join(format!("scheduler-trace-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("invocations.csv", "o,a,f,Trigger,480,481\no1,a1,f1,http,2,0\no1,a1,f2,timer,1,3\no1,a1,f3,timer,5,5\n");
    write(
        "durations.csv",
        "o,a,f,avg,n,min,max,p0,p1,p25,p50,p75,p99,p100\n\
         o1,a1,f1,5,9,1,9,1,1,2,5,7,9,9\no1,a1,f2,50,9,50,50,50,50,50,50,50,50,50\n",
    );
    write("memory.csv", "f,o,a,n,avg,p1,p5,p25,p50,p75,p95,p99,p100\nf1,o1,a1,3,200.5,1,1,1,1,1,1,1,1\n");
    let workload = Trace::read(&folder).unwrap().workload(1, 0.5);
    // The third has no durations.
    assert_eq!((workload.functions.len(), workload.arrivals.len()), (2, 6));
    assert_eq!((workload.functions[0].memory_mib, workload.functions[1].memory_mib), (200, 128));
    assert_eq!(workload.length, Duration::from_mins(2));
    for arrival in &workload.arrivals {
        let bounds = if arrival.function == 0 { 1_000..=9_000 } else { 49_999..=50_001 };
        assert!(bounds.contains(&arrival.run_us), "{arrival:?}");
    }
    let late = workload.arrivals.iter().filter(|arrival| arrival.at_us >= 60_000_000).count();
    assert_eq!(late, 3);

    write("invocations.csv", "o,a,f,Trigger,480\no1,a1,f1,http,many\n");
    let broken = Trace::read(&folder).unwrap_err().to_string();
    assert!(broken.ends_with("invocations.csv: row 1: `many` is no count"), "{broken}");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(Trace::read(&folder).is_err());
}

/// A short form of the benchmark: the long one decides about the goals.
#[test]
fn learning_pays() {
    let plan = Plan {
        seeds: vec![1, 2],
        loads: vec![0.76],
        learn_minutes: 30,
        score_minutes: 30,
        only: ["least_loaded", "warm_first_sjf", "learned"].map(str::to_owned).to_vec(),
        ..Plan::default()
    };
    let report = compare(&plan, &Source::Generated { functions: 150 }, &|_| {});
    let p99 = |policy: &str| report.rows.iter().find(|row| row.policy == policy).unwrap().slowdown_p99.mean;
    assert!(p99("learned") < 0.5 * p99("least_loaded"), "{}", report.table());
    assert!(p99("learned") < 1.2 * p99("warm_first_sjf"), "{}", report.table());
    assert_eq!(report.goals.len(), 3);
    let json = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back.rows.len(), 3);
    for (name, svg) in report.plots().unwrap() {
        assert!(svg.starts_with("<svg") && svg.contains("least_loaded") && svg.ends_with("</svg>\n"), "{name}: {svg}");
    }
}

#[test]
fn intervals_are_students() {
    let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!((spread.mean - 3.0).abs() < 1e-9 && (spread.half - 2.776 * (2.5_f64 / 5.0).sqrt()).abs() < 1e-3);
    assert_eq!(Spread::of(&[7.0]), Spread { mean: 7.0, half: 0.0 });
}
