//! Renders Markdown: `POST` a text, get a complete page back, with highlighted code, for light and dark screens.

#[allow(dead_code, reason = "shared with the thumbnailer, which needs all of it")]
#[path = "../../thumbnail/src/http.rs"]
mod http;
mod page;

use http::{Answer, Request};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Markdown;

wasip2::http::proxy::export!(Markdown);

impl Guest for Markdown {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        http::serve(request, out, answer);
    }
}

fn answer(request: &Request) -> Answer {
    if !matches!(request.method.as_str(), "POST" | "PUT") {
        return Answer::new(200, HTML, page::render(include_str!("welcome.md")).into_bytes());
    }
    match std::str::from_utf8(&request.body) {
        Ok(text) => Answer::new(200, HTML, page::render(text).into_bytes()),
        Err(error) => Answer::text(400, &format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to())),
    }
}

const HTML: &str = "text/html; charset=utf-8";
