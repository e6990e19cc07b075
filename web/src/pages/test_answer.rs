//! What a function answered to a test call: as text, as a picture, or as a file. Never as a page.

use protocol::RunId;
use protocol::api::{Invocation, TestAnswer};
use sycamore::prelude::*;
use wasm_bindgen::JsValue;
use web_sys::{Blob, BlobPropertyBag, Url};

use crate::base64;
use crate::calls;
use crate::format;
use crate::load::sleep;
use crate::pages::function::Subject;
use crate::pages::function_logs::output;
use crate::ui::copy::{copy_button, id_chip};
use crate::ui::icon;
use crate::ui::lane::{cpu_used, lane_why, memory_used};
use crate::ui::page::badge;

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

/// The answer.
pub(crate) fn answer_view(subject: &Subject, answer: TestAnswer) -> View {
    let body = base64::decode(&answer.body);
    let media_type = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.clone())
        .unwrap_or_default();
    let tone = match answer.status {
        0..400 => "good",
        400..500 => "warn",
        _ => "bad",
    };
    let status = format!("{} {}", answer.status, format::status_text(answer.status));
    let status = badge(tone, status.trim().to_owned());
    let duration = format::micros(answer.wall_us);
    let size = format::bytes(body.len() as u64);
    let run = answer.run.to_string();
    let logs = subject.tab(&format!("logs?run={run}"));
    let code = answer.code.map(|code| {
        let (name, help) = (code.as_str(), code.help());
        view! { p(class="note") { "The platform answered: " code { (name) } ". " (help) } }
    });
    let headers: Vec<View> =
        answer.headers.into_iter().map(|(name, value)| view! { dt { (name) } dd(class="mono") { (value) } }).collect();
    let summary = format!("Headers ({})", headers.len());
    let chip = id_chip(&run);
    let used = used(subject, answer.run);
    let written = output(subject, Some(answer.run));
    let body = body_view(&media_type, body);
    view! {
        div(class="answer") {
            p(class="answer-line") {
                (status)
                span(class="figure-inline") { (duration) }
                span(class="soft") { (size) }
                a(href=logs) { "Run" } (chip)
            }
            (used)
            (code)
            (body)
            details(class="answer-headers") { summary { (summary) } dl(class="facts") { (headers) } }
            h3 { "Logs" }
            (written)
        }
    }
}

/// How often, and at most how many times, the run's record is asked for: it comes after the answer.
const RECORD_POLL_MS: i32 = 400;
const RECORD_POLLS_MAX: u32 = 25;

/// The run's lane, and what it used of what it might.
fn used(subject: &Subject, run: RunId) -> View {
    let record = create_signal(None::<Invocation>);
    let account = subject.account().to_owned();
    sycamore::futures::spawn_local_scoped(async move {
        for _ in 0..RECORD_POLLS_MAX {
            sleep(RECORD_POLL_MS).await;
            let Ok(found) = calls::invocation(&account, run).await else { continue };
            if !record.is_alive() {
                return;
            }
            let settled = found.settled;
            record.set(Some(found));
            if settled {
                return;
            }
        }
    });
    View::from_dynamic(move || match record.get_clone() {
        None => view! { p(class="used-line soft") { "Lane, CPU and memory follow in a moment." } },
        Some(run) => {
            let lane = lane_why(run.lane, run.lane_reason);
            let (cpu, memory) = (cpu_used(&run).view(), memory_used(&run).view());
            view! {
                p(class="used-line") { (lane) span { "CPU " (cpu) } span { "memory " (memory) } }
            }
        }
    })
}

fn body_view(media_type: &str, body: Vec<u8>) -> View {
    let how = shown(media_type, &body);
    let download = (!body.is_empty()).then(|| download(media_type, &body));
    let seen = match how {
        Shown::Nothing => view! { p(class="nothing") { "The body is empty." } },
        Shown::Bytes => view! { p(class="nothing") { "The body is not text." } },
        Shown::Picture => {
            let url = object_url(media_type, &body);
            view! { img(class="answer-picture", src=url, alt="The answer's body") }
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
    let name = format!("answer.{}", extension(media_type));
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
