//! Whether the platform answers. One signal for the whole portal: where it does not, pages keep what they show and a line
//! says so.

use std::cell::Cell;

use sycamore::prelude::*;

use crate::format;
use crate::ui::time::now_ms;

thread_local! {
    static LOST: Cell<Option<Signal<Option<i64>>>> = const { Cell::new(None) };
}

/// Makes the one signal; at the start.
pub(crate) fn start() {
    LOST.set(Some(create_signal(None)));
}

/// A request was answered, or could not be.
pub(crate) fn told(answered: bool) {
    let Some(lost) = LOST.get().filter(|lost| lost.is_alive()) else { return };
    let since = lost.get_untracked();
    match (answered, since) {
        (true, Some(_)) => lost.set(None),
        (false, None) => lost.set(Some(now_ms())),
        _ => {}
    }
}

/// The line, while nothing answers.
pub(crate) fn line() -> View {
    View::from_dynamic(|| {
        let since = LOST.get()?.get()?;
        let text = format!(
            "The platform does not answer. What you see is of {}; it goes on by itself.",
            format::hour(protocol::Timestamp(since))
        );
        Some(view! { p(class="offline", role="status") { (text) } })
    })
}
