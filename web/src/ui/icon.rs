//! Line icons, 16 by 16, drawn with the ink of the text around.

use sycamore::prelude::*;

/// One icon, by its path.
pub(crate) fn icon(path: &'static str) -> View {
    view! {
        svg(class="icon", "viewBox"="0 0 16 16", aria-hidden="true") { path(d=path) }
    }
}

pub(crate) const OVERVIEW: &str = "M2.5 2.5h4.5v5H2.5zM9 2.5h4.5v3H9zM9 7.5h4.5v6H9zM2.5 9.5H7v4H2.5z";
pub(crate) const FUNCTION: &str = "M9.5 2 4 9h4l-1.5 5L12 7H8z";
pub(crate) const RUN: &str = "M2.500 4h3M2.500 8h7M2.500 12h4M8 4h5.500M12 8h1.500M9 12h4.500";
pub(crate) const MORE: &str = "M3.500 8h.01M8 8h.01M12.500 8h.01";
pub(crate) const JOB: &str = "M2.500 2.500h7v2.500h-7zM4.500 6.750h9v2.500h-9zM8.500 11h5v2.500h-5z";
pub(crate) const QUEUE: &str = "M2.500 3.500h2v9h-2zM6.500 3.500h2v9h-2zM11 8h3M12.500 6.500 14 8l-1.500 1.500";
pub(crate) const CHART: &str = "M2.500 2.500v11h11M5.500 11V8M8.500 11V4.500M11.500 11V6.500";
pub(crate) const NODE: &str = "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01";
pub(crate) const SETTINGS: &str = "M2 5h6M12 5h2M2 11h2M8 11h6M10 3.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zM6 9.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6z";
pub(crate) const COPY: &str = "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3";
pub(crate) const CHECK: &str = "M3 8.5 6.5 12 13 4.5";
pub(crate) const UPDOWN: &str = "M5 6.2 8 3.2l3 3M5 9.8l3 3 3-3";
pub(crate) const PLUS: &str = "M8 3v10M3 8h10";
pub(crate) const SUN: &str = "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7";
pub(crate) const MOON: &str = "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z";
pub(crate) const SYSTEM: &str = "M2.5 3h11v7.5h-11zM6 13.5h4M8 10.5v3";
pub(crate) const EXTERNAL: &str = "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5";
pub(crate) const UPLOAD: &str = "M8 10.5v-8M4.5 5.5 8 2l3.5 3.5M2.5 10v3.5h11V10";
pub(crate) const ALERT: &str = "M8 2.500 14 13H2zM8 6.500v3M8 11.200h.01";
pub(crate) const LOGOUT: &str = "M6.500 2.500h-4v11h4M10 5l3 3-3 3M13 8H6";
pub(crate) const SHIELD: &str = "M8 2l5 2v4c0 3-2 5-5 6-3-1-5-3-5-6V4z";
pub(crate) const DOWNLOAD: &str = "M8 2.500v8M4.500 7.500 8 11l3.500-3.500M2.500 13.500h11";
