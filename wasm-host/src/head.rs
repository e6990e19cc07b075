//! Where the head of a response appears while its guest runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use wasmtime_wasi_http::WasiBody;

use crate::cgi;
use crate::stdio::{Pipe, PipeBody};

/// A command's head is held back until it has ended or has written this much, so that its exit status can still
/// decide the answer's status...
const HELD_BYTES_MAX: usize = 64 << 10;
/// ...but no longer than this after its first output, so that slow output is seen.
const HELD_MAX: Duration = Duration::from_millis(100);

/// Where the head appears.
pub enum Head {
    /// The handler sets it.
    Http(Arc<Mutex<Option<http::Response<WasiBody>>>>),
    /// It is made from the first output.
    Command(Option<Pipe>),
}

impl Head {
    /// The head, where it is there while the guest still runs.
    pub fn take_early(&mut self) -> Option<http::Response<WasiBody>> {
        match self {
            Self::Http(slot) => slot.lock().take(),
            Self::Command(pipe) => {
                let (bytes, since) = pipe.as_ref()?.waiting();
                let due = bytes >= HELD_BYTES_MAX || since.is_some_and(|since| since.elapsed() >= HELD_MAX);
                if due { pipe.take().map(respond) } else { None }
            }
        }
    }

    /// The head, now that the guest has ended.
    pub fn take_ended(&mut self) -> Option<http::Response<WasiBody>> {
        match self {
            Self::Http(slot) => slot.lock().take(),
            Self::Command(pipe) => pipe.take().map(respond),
        }
    }

    /// When to look again, although the guest has not moved.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Http(_) => None,
            Self::Command(pipe) => pipe.as_ref()?.waiting().1.map(|since| since + HELD_MAX),
        }
    }
}

fn respond(pipe: Pipe) -> http::Response<WasiBody> {
    let media_type = cgi::media_type(&pipe.peek());
    let mut response = http::Response::new(PipeBody(pipe).boxed_unsync());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}
