//! Uploading an artifact, with its progress: by XMLHttpRequest, because `fetch` tells none.

use protocol::api::Artifact;
use protocol::headers;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::js_sys::Promise;
use web_sys::{File, ProgressEvent, XmlHttpRequest};

use crate::api::{BASE, Result, Trouble};

/// Ends the upload when its page is left.
struct AbortOnDrop(XmlHttpRequest);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        drop(self.0.abort());
    }
}

/// Uploads `file`; `percent` follows.
pub(crate) async fn upload(account: &str, file: &File, percent: Signal<u32>) -> Result<Artifact> {
    let failed = |_| Trouble::unreachable();
    let request = XmlHttpRequest::new().map_err(failed)?;
    request.open_with_async("POST", &format!("{BASE}/artifacts"), true).map_err(failed)?;
    request.set_request_header("content-type", "application/wasm").map_err(failed)?;
    request.set_request_header(headers::ACCOUNT, account).map_err(failed)?;
    let follow = Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| {
        if percent.is_alive() {
            percent.set(share(event.loaded(), event.total()));
        }
    });
    if let Ok(upload) = request.upload() {
        upload.set_onprogress(Some(follow.as_ref().unchecked_ref()));
    }
    let ended = Promise::new(&mut |resolve, _| request.set_onloadend(Some(&resolve)));
    request.send_with_opt_blob(Some(file)).map_err(failed)?;
    let request = AbortOnDrop(request);
    wasm_bindgen_futures::JsFuture::from(ended).await.map_err(failed)?;
    let status = request.0.status().unwrap_or(0);
    let body = request.0.response_text().ok().flatten().unwrap_or_default();
    match status {
        0 => Err(Trouble::unreachable()),
        200..300 => serde_json::from_str(&body).map_err(|_| Trouble::from_body(status, "")),
        _ => Err(Trouble::from_body(status, &body)),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage, clamped")]
fn share(loaded: f64, total: f64) -> u32 {
    if total > 0.0 { (loaded / total * 100.0).clamp(0.0, 100.0) as u32 } else { 0 }
}
