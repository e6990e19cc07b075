//! The smallest function: says what was asked, and how often this instance has been asked.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// Each request gets a fresh instance, so this must never go beyond 1.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let method = format!("{:?}", request.method()).replace("Method::", "").to_uppercase();
        let path = request.path_with_query().unwrap_or_default();
        let text = format!("Hello from CrowdCloud: {method} {path}, request {count} of this instance\n");

        let headers = Fields::new();
        let _ = headers.set("content-type", &[b"text/plain".to_vec()]);
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(text.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
