//! The body of an answer: as text, as a picture, or as a file. Never as a page.

use sycamore::prelude::*;
use wasm_bindgen::JsValue;
use web_sys::{Blob, BlobPropertyBag, Url};

use super::copy::copy_button;
use super::icon;
use super::page::badge;
use crate::format;

/// Text beyond this is cut; the file is whole.
const TEXT_CHARS_MAX: usize = 200_000;

/// How a body is shown.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Picture,
    Text(String),
    Bytes,
}

fn shown(media_type: &str, body: &[u8]) -> Shown {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if body.is_empty() {
        return Shown::Nothing;
    }
    // SVG is left out: it is a document.
    if matches!(essence.as_str(), "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif" | "image/bmp")
    {
        return Shown::Picture;
    }
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') => Shown::Text(text.chars().take(TEXT_CHARS_MAX).collect()),
        _ => Shown::Bytes,
    }
}

/// The status, toned.
pub(crate) fn status_badge(status: u16) -> View {
    let tone = match status {
        0..400 => "good",
        400..500 => "warn",
        _ => "bad",
    };
    badge(tone, format!("{status} {}", format::status_text(status)).trim().to_owned())
}

/// Headers, folded.
pub(crate) fn headers_view(headers: Vec<(String, String)>) -> View {
    let summary = format!("Headers ({})", headers.len());
    let headers: Vec<View> =
        headers.into_iter().map(|(name, value)| view! { dt { (name) } dd(class="mono") { (value) } }).collect();
    view! { details(class="answer-headers") { summary { (summary) } dl(class="facts") { (headers) } } }
}

/// The body, and a way to keep it.
pub(crate) fn body_view(media_type: &str, body: &[u8]) -> View {
    let how = shown(media_type, body);
    let download = (!body.is_empty()).then(|| download(media_type, body));
    let seen = match how {
        Shown::Nothing => view! { p(class="nothing") { "The body is empty." } },
        Shown::Bytes => view! { p(class="nothing") { "The body is not text." } },
        Shown::Picture => {
            let url = object_url(media_type, body);
            view! { img(class="answer-picture", src=url, alt="The response's body") }
        }
        Shown::Text(text) => {
            let copy = copy_button(text.clone(), "body");
            view! { div(class="code answer-body") { pre(tabindex="0") { code { (text) } } (copy) } }
        }
    };
    view! { (seen) (download) }
}

fn download(media_type: &str, body: &[u8]) -> View {
    // As bytes, whatever it says it is: a page of the function's must not open within the portal's origin.
    let url = object_url("application/octet-stream", body);
    let name = format!("response.{}", extension(media_type));
    view! { p { a(class="secondary small", href=url, download=name) { (icon::icon(icon::DOWNLOAD)) "Download" } } }
}

fn extension(media_type: &str) -> &'static str {
    match media_type.split(';').next().unwrap_or_default().trim() {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "application/json" => "json",
        "text/html" => "html",
        "text/plain" => "txt",
        _ => "bin",
    }
}

/// A URL for these bytes, until the view is gone.
fn object_url(media_type: &str, body: &[u8]) -> String {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = web_sys::js_sys::Array::of1(&JsValue::from(web_sys::js_sys::Uint8Array::from(body)));
    let url = Blob::new_with_u8_array_sequence_and_options(&parts, &options)
        .and_then(|blob| Url::create_object_url_with_blob(&blob))
        .unwrap_or_default();
    let held = url.clone();
    on_cleanup(move || drop(Url::revoke_object_url(&held)));
    url
}

#[cfg(test)]
mod tests {
    use super::{Shown, shown};

    #[test]
    fn bodies_are_shown_as_what_they_are() {
        assert_eq!(shown("image/jpeg", &[0xff, 0xd8]), Shown::Picture);
        assert_eq!(shown("text/html; charset=utf-8", b"<b>"), Shown::Text("<b>".into()), "a page is text here");
        assert_eq!(shown("image/svg+xml", b"<svg>"), Shown::Text("<svg>".into()));
        assert_eq!(shown("", &[0, 1, 2]), Shown::Bytes);
        assert_eq!(shown("text/plain", b""), Shown::Nothing);
    }
}
