//! What the store keeps of the account, of how much, and what takes the room.

use protocol::api::{Kept, KeptBy};
use sycamore::prelude::*;

use super::data::Subject;
use crate::format::bytes;

/// One line; nothing where the page is of one function.
pub(super) fn kept(subject: &Subject) -> View {
    let (moved, here) = (subject.moved, subject.here.clone());
    View::from_dynamic(move || {
        let Some(kept) = moved.ready().and_then(|told| told.report.kept) else { return view! {} };
        let [line, functions, jobs, rest] = words(&kept);
        let (to_functions, to_jobs) = (here.path("functions"), here.path("jobs/list"));
        view! {
            p(class="hint", id="kept") {
                (line) " " a(href=to_functions) { (functions) } ", " a(href=to_jobs) { (jobs) } (rest)
            }
        }
    })
}

/// How much, what it is, and what does not count.
fn words(kept: &Kept) -> [String; 4] {
    let KeptBy { functions, uploads, jobs, deleted, history } = kept.by;
    let beside = match deleted.0 {
        0 => String::new(),
        deleted => format!(", and {} of deleted functions", bytes(deleted)),
    };
    [
        format!("Kept: {} of {}:", bytes(kept.bytes.0), bytes(kept.limit.0)),
        format!("functions {}", bytes(functions.0)),
        format!("jobs {}", bytes(jobs.0)),
        format!(", uploads {}. Beside it, {} of history and logs{beside}.", bytes(uploads.0), bytes(history.0)),
    ]
}

#[cfg(test)]
mod tests {
    use protocol::ByteSize;
    use protocol::api::{Kept, KeptBy};

    use super::words;

    #[test]
    fn the_line_says_what_takes_the_room() {
        let by = KeptBy { functions: ByteSize::mib(1024), jobs: ByteSize::mib(205), ..KeptBy::NONE };
        let kept = Kept { bytes: by.bytes(), limit: ByteSize::mib(10_240), by };
        let [line, functions, jobs, rest] = words(&kept);
        assert_eq!((line.as_str(), functions.as_str()), ("Kept: 1.2 GiB of 10 GiB:", "functions 1 GiB"));
        assert_eq!(
            (jobs.as_str(), rest.as_str()),
            ("jobs 205 MiB", ", uploads 0 B. Beside it, 0 B of history and logs.")
        );
        let by = KeptBy { deleted: ByteSize::mib(3), ..by };
        assert!(words(&Kept { by, ..kept })[3].ends_with("history and logs, and 3 MiB of deleted functions."));
    }
}
