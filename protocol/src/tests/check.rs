//! What a node cannot say of itself.

use super::sample;
use crate::Lane;
use crate::node::{Hello, NodeReport, StoreDisk, VmLane, printable};
use crate::units::{ByteSize, Digest};

fn wrong(change: impl FnOnce(&mut NodeReport)) -> Option<&'static str> {
    let mut report = sample::report();
    change(&mut report);
    report.check().err().and_then(|malformed| malformed.field)
}

#[test]
fn a15_each_field_of_a_report_is_checked() {
    assert_eq!(wrong(|_| ()), None);
    for load in [f32::NAN, f32::INFINITY, -0.1, 1.1, 1e30] {
        assert_eq!(wrong(|report| report.load = load), Some("load"), "{load}");
    }
    assert_eq!(wrong(|report| report.v = 9), Some("v"));
    assert_eq!(wrong(|report| report.cores = 0), Some("cores"));
    assert_eq!(wrong(|report| report.cores = u32::MAX), Some("cores"));
    assert_eq!(wrong(|report| report.slots = u32::MAX), Some("slots"));
    assert_eq!(wrong(|report| report.running = report.slots + 1), Some("running"));
    assert_eq!(wrong(|report| report.memory_total = ByteSize(u64::MAX)), Some("memory"));
    assert_eq!(wrong(|report| report.memory_free = ByteSize(report.memory_total.0 + 1)), Some("memory_free"));
    assert_eq!(wrong(|report| report.lanes = vec![Lane::Wasm; 2]), Some("lanes"));
    for arch in ["", "x86\u{1b}[31m", "x86 64", "x86\u{202e}", &"x".repeat(100)] {
        assert_eq!(wrong(|report| report.arch = arch.to_owned()), Some("arch"), "{arch:?}");
    }
    assert_eq!(wrong(|report| report.warm = vec![Digest([0; 32]); 513]), Some("warm"));
    assert_eq!(wrong(|report| report.cached = vec![Digest([0; 32]); 257]), Some("cached"));
    for why in ["two\nlines".to_owned(), "\u{9b}31m".to_owned(), "y".repeat(501)] {
        assert_eq!(wrong(|report| report.vm = Some(VmLane::Missing { why: why.clone() })), Some("vm.why"), "{why:?}");
        let shown = printable(&why);
        assert_eq!(wrong(|report| report.vm = Some(VmLane::Missing { why: shown })), None);
    }
}

#[test]
fn a15_a_report_from_the_wire_is_checked() {
    let good = serde_json::to_string(&sample::report()).unwrap();
    assert_eq!(NodeReport::parse(good.as_bytes()), Ok(sample::report()));
    for (from, to) in [("\"load\":0.5", "\"load\":1e39"), ("\"load\":0.5", "\"load\":-1e-3"), ("x86_64", "x\\u001b[2J")]
    {
        assert!(good.contains(from));
        NodeReport::parse(good.replace(from, to).as_bytes()).unwrap_err();
    }
    let long = format!("{good}{}", " ".repeat(200_000));
    assert!(NodeReport::parse(long.as_bytes()).unwrap_err().why.contains("larger"));
    NodeReport::parse(b"{}").unwrap_err();
}

#[test]
fn a15_each_field_of_a_hello_is_checked() {
    let wrong = |change: fn(&mut Hello)| {
        let mut hello = sample::hello();
        change(&mut hello);
        hello.check().err().and_then(|malformed| malformed.field)
    };
    assert_eq!(wrong(|_| ()), None);
    assert_eq!(wrong(|hello| hello.arch = "\u{1b}[31m".to_owned()), Some("arch"));
    assert_eq!(wrong(|hello| hello.os = "l".repeat(61)), Some("os"));
    assert_eq!(wrong(|hello| hello.software = String::new()), Some("software"));
    assert_eq!(wrong(|hello| hello.name = "a\nb".to_owned()), Some("name"));
    assert_eq!(wrong(|hello| hello.cores = u32::MAX), Some("cores"));
    assert_eq!(wrong(|hello| hello.memory = ByteSize(u64::MAX)), Some("memory"));
    assert_eq!(wrong(|hello| hello.disks = sample::disks()), None);
    assert_eq!(wrong(|hello| hello.disks = vec![sample::disks().remove(0); 2]), Some("disks"));
    assert_eq!(wrong(|hello| hello.disks = vec![sample::disks().remove(0); 17]), Some("disks"));
    for domain in ["", "a\nb"] {
        let disks = |disk: StoreDisk| StoreDisk { domain: domain.to_owned(), ..disk };
        let mut hello = sample::hello();
        hello.disks = sample::disks().into_iter().map(disks).collect();
        assert_eq!(hello.check().err().and_then(|malformed| malformed.field), Some("disks.domain"), "{domain:?}");
    }
}
