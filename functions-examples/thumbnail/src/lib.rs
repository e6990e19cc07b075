//! Resizes pictures: `POST` a JPEG or PNG to `?width=320`, get the same kind of picture back, upright and smaller.

mod http;
mod resize;

use http::{Answer, Request};
use resize::{Refused, Size};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Thumbnail;

wasip2::http::proxy::export!(Thumbnail);

impl Guest for Thumbnail {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        http::serve(request, out, answer);
    }
}

fn answer(request: &Request) -> Answer {
    if !matches!(request.method.as_str(), "POST" | "PUT") {
        return Answer::text(405, "POST a JPEG or PNG, with ?width= or ?height= in pixels").with("allow", "POST, PUT");
    }
    let size = Size { width: request.parameter("width"), height: request.parameter("height") };
    match size.parse().and_then(|size| resize::resize(&request.body, size)) {
        Ok(picture) => Answer::new(200, picture.content_type, picture.bytes),
        Err(Refused { status, why }) => Answer::text(status, &why),
    }
}
