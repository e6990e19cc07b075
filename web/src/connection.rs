//! Whether the platform answers, and whether it has become a newer one. Signals for the whole portal: where it does not
//! answer, pages keep what they show and a line says so; where it is newer, a line offers to load the page anew.

use std::cell::{Cell, RefCell};

use sycamore::prelude::*;

use crate::format;
use crate::ui::time::now_ms;

/// What is known of the platform.
#[derive(Clone, Copy)]
struct Known {
    /// Since when nothing answers.
    lost: Signal<Option<i64>>,
    /// The page is older than the platform.
    older: Signal<bool>,
}

thread_local! {
    static KNOWN: Cell<Option<Known>> = const { Cell::new(None) };
    /// The release of the portal that the first response told.
    static RELEASE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the signals; at the start.
pub(crate) fn start() {
    KNOWN.set(Some(Known { lost: create_signal(None), older: create_signal(false) }));
}

/// A request was answered, or could not be.
pub(crate) fn told(answered: bool) {
    let Some(Known { lost, .. }) = KNOWN.get().filter(|known| known.lost.is_alive()) else { return };
    let since = lost.get_untracked();
    match (answered, since) {
        (true, Some(_)) => lost.set(None),
        (false, None) => lost.set(Some(now_ms())),
        _ => {}
    }
}

/// A response told which release of the portal goes with it.
pub(crate) fn told_release(release: String) {
    let other = RELEASE.with_borrow_mut(|first| is_other(first, release));
    if let Some(Known { older, .. }) = KNOWN.get().filter(|known| other && known.older.is_alive()) {
        older.set(true);
    }
}

/// Whether it is another release than the first, which is kept.
fn is_other(first: &mut Option<String>, release: String) -> bool {
    match first {
        Some(first) => *first != release,
        None => {
            *first = Some(release);
            false
        }
    }
}

/// The lines.
pub(crate) fn line() -> View {
    let lost = View::from_dynamic(|| {
        let since = KNOWN.get()?.lost.get()?;
        let text = format!(
            "The platform does not answer. What you see is of {}; it goes on by itself.",
            format::hour(protocol::Timestamp(since))
        );
        Some(view! { p(class="offline", role="status") { (text) } })
    });
    // Only when the user says so: what is being written would be gone.
    let older = View::from_dynamic(|| {
        KNOWN.get()?.older.get().then(|| {
            view! {
                p(class="offline", role="status") {
                    "The platform has a newer version of this page. Finish what you write, then "
                    a(href="", rel="external") { "reload" } "."
                }
            }
        })
    });
    view! { (lost) (older) }
}

#[cfg(test)]
mod tests {
    use super::is_other;

    #[test]
    fn a_page_is_older_once_another_release_answers() {
        let mut first = None;
        let told = ["a", "a", "b", "a"].map(|release| is_other(&mut first, release.to_owned()));
        assert_eq!(told, [false, false, true, false]);
    }
}
