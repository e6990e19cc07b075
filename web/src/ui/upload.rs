//! Uploading an artifact or an input, with its progress: by XMLHttpRequest, because `fetch` tells none.

use protocol::api::Artifact;
use protocol::headers;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::js_sys::{Date, Promise};
use web_sys::{File, ProgressEvent, XmlHttpRequest};

use crate::api::{BASE, Result, Trouble};
use crate::format;

/// Speed is told once it says something.
const SPEED_AFTER_MS: f64 = 1_500.0;

/// An upload, as its page follows it.
#[derive(Clone, Copy)]
pub(crate) struct Upload {
    /// How far it is.
    pub(crate) sent: Signal<Sent>,
    request: Signal<Option<XmlHttpRequest>>,
    cancelled: Signal<bool>,
}

/// How much has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sent {
    bytes: f64,
    total: f64,
    ms: f64,
}

impl Sent {
    /// In hundredths.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage, clamped")]
    pub(crate) fn percent(self) -> u32 {
        if self.total > 0.0 { (self.bytes / self.total * 100.0).clamp(0.0, 100.0) as u32 } else { 0 }
    }

    /// `12.4 of 80 MiB, 8.2 MiB/s, 9 s left`
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes and seconds, not below zero")]
    pub(crate) fn words(self) -> String {
        let whole = format::bytes(self.total as u64);
        if self.bytes >= self.total {
            return format!("{whole} sent; the platform stores it");
        }
        let sent = format::bytes(self.bytes as u64);
        if self.ms < SPEED_AFTER_MS || self.bytes <= 0.0 {
            return format!("{sent} of {whole}");
        }
        let in_a_second = self.bytes / self.ms * 1_000.0;
        let left_us = (self.total - self.bytes) / in_a_second * 1_000_000.0;
        let left = format::micros((left_us as u64).div_ceil(1_000_000) * 1_000_000).replace(".00", "");
        format!("{sent} of {whole}, {}/s, {left} left", format::bytes(in_a_second as u64))
    }
}

impl Upload {
    /// Nothing sent.
    pub(crate) fn new() -> Self {
        Self { sent: create_signal(Sent::default()), request: create_signal(None), cancelled: create_signal(false) }
    }

    /// Ends it.
    pub(crate) fn cancel(self) {
        self.cancelled.set(true);
        if let Some(request) = self.request.get_clone_untracked() {
            drop(request.abort());
        }
    }
}

/// How far it is, and a way to end it.
pub(crate) fn upload_bar(upload: Upload) -> View {
    let sent = upload.sent;
    let percent = create_selector(move || sent.get().percent());
    let value = move || percent.get().to_string();
    let words = create_selector(move || sent.get().words());
    view! {
        div(class="upload") {
            progress(class="upload-bar", max="100", value=value(), aria-label="Uploaded") {}
            span(class="upload-line") {
                b { (percent.get()) "%" }
                span(class="soft") { (words.get_clone()) }
                button(class="quiet small", r#type="button", on:click=move |_| upload.cancel()) { "Cancel" }
            }
        }
    }
}

/// Ends the upload when its page is left.
struct AbortOnDrop(XmlHttpRequest);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        drop(self.0.abort());
    }
}

/// Uploads `file` to this path of the API; `follow` is told how far it is.
pub(crate) async fn upload(account: &str, path: &str, file: &File, follow: Upload) -> Result<Artifact> {
    let failed = |_| Trouble::unreachable();
    let request = XmlHttpRequest::new().map_err(failed)?;
    request.open_with_async("POST", &format!("{BASE}{path}"), true).map_err(failed)?;
    request.set_request_header("content-type", "application/octet-stream").map_err(failed)?;
    request.set_request_header(headers::ACCOUNT, account).map_err(failed)?;
    follow.cancelled.set(false);
    follow.sent.set(Sent { total: file.size(), ..Sent::default() });
    let started = Date::now();
    let progress = Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| {
        if follow.sent.is_alive() {
            follow.sent.set(Sent { bytes: event.loaded(), total: event.total(), ms: Date::now() - started });
        }
    });
    if let Ok(upload) = request.upload() {
        upload.set_onprogress(Some(progress.as_ref().unchecked_ref()));
    }
    let ended = Promise::new(&mut |resolve, _| request.set_onloadend(Some(&resolve)));
    request.send_with_opt_blob(Some(file)).map_err(failed)?;
    let request = AbortOnDrop(request);
    follow.request.set(Some(request.0.clone()));
    wasm_bindgen_futures::JsFuture::from(ended).await.map_err(failed)?;
    follow.request.set(None);
    let status = request.0.status().unwrap_or(0);
    let body = request.0.response_text().ok().flatten().unwrap_or_default();
    match status {
        0 if follow.cancelled.get_untracked() => Err(Trouble::here(
            "cancelled",
            "The upload was cancelled.",
            "Nothing was stored. Begin again to start over.",
        )),
        0 => Err(Trouble::unreachable()),
        200..300 => serde_json::from_str(&body).map_err(|_| Trouble::from_body(status, "")),
        _ => Err(Trouble::from_body(status, &body)),
    }
}

#[cfg(test)]
mod tests {
    use super::Sent;

    const MIB: f64 = 1_048_576.0;

    #[test]
    fn a_large_upload_says_how_long_it_takes() {
        let at = |bytes: f64, ms: f64| Sent { bytes: bytes * MIB, total: 80.0 * MIB, ms };
        assert_eq!(at(0.0, 0.0).words(), "0 B of 80 MiB");
        assert_eq!(at(8.0, 1_000.0).words(), "8 MiB of 80 MiB");
        assert_eq!(at(20.0, 2_000.0).words(), "20 MiB of 80 MiB, 10 MiB/s, 6 s left");
        assert_eq!(at(80.0, 8_000.0).words(), "80 MiB sent; the platform stores it");
        assert_eq!([at(20.0, 0.0).percent(), Sent::default().percent()], [25, 0]);
    }
}
