//! What libraries have to say of a guest's doings: in the guest's log, and not in the platform's.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::guest;

/// Lines that the platform's log would have got.
static LINES: AtomicUsize = AtomicUsize::new(0);

/// The log as the program has it, but that it only counts.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        crate::remark(event);
        if !crate::is_about_a_guest(event.metadata()) {
            LINES.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f44_many_malformed_requests_of_a_guest_are_a_few_lines_in_its_own_log() {
    // Each test is a process of its own.
    tracing::subscriber::set_global_default(Log).unwrap();
    let (body, ended) = guest().get("/fetch-often?times=5000").await.read().await;
    assert_eq!(body.unwrap(), "5000");
    assert_eq!(LINES.load(Ordering::Relaxed), 0, "the platform's log");
    assert!((2..=17).contains(&ended.log.len()), "{:?}", ended.log);
    assert!(ended.log[0].contains("http request error"), "{:?}", ended.log);
    tracing::warn!("the platform's own");
    assert_eq!(LINES.load(Ordering::Relaxed), 1);
}
