//! Times: relative to read, absolute on hover, always current.

use protocol::Timestamp;
use sycamore::prelude::*;

use crate::format;
use crate::load::sleep;

/// The present, in milliseconds, moving.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Signal<i64>);

/// How often relative times are told anew.
const TICK_MS: i32 = 5_000;

impl Clock {
    /// Starts the one clock of the page.
    pub(crate) fn start() {
        let clock = Self(create_signal(now_ms()));
        provide_context(clock);
        sycamore::futures::spawn_local_scoped(async move {
            loop {
                sleep(TICK_MS).await;
                clock.0.set(now_ms());
            }
        });
    }
}

/// The browser's time.
#[allow(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
pub(crate) fn now_ms() -> i64 {
    web_sys::js_sys::Date::now() as i64
}

/// A point in time.
pub(crate) fn time(at: Timestamp) -> View {
    let clock = use_context::<Clock>();
    let absolute = at.to_string();
    let title = absolute.replace('T', " ").replace('Z', " UTC");
    // The browser's clock may be behind the server's: what just happened is not ahead.
    let relative = move || {
        let now = clock.0.get().max(now_ms());
        let ahead = at.0.saturating_sub(now);
        format::relative(if (0..60_000).contains(&ahead) { now } else { at.0 }, now)
    };
    view! { time(datetime=absolute, title=title) { (relative) } }
}
