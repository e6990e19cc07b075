//! What is shown when the portal itself breaks.

use sycamore::prelude::{document, window};

/// Says so, above everything; the page beneath may no longer react.
pub(crate) fn show() {
    let Ok(bar) = document().create_element("div") else { return };
    bar.set_class_name("broken");
    drop(bar.set_attribute("role", "alert"));
    let path = window().location().pathname().unwrap_or_default();
    bar.set_text_content(Some(&format!("The portal broke on {path}. Reload the page; nothing on the server is lost.")));
    if let Some(body) = document().body() {
        drop(body.append_child(&bar));
    }
}
