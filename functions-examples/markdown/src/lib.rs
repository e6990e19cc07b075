//! Renders Markdown: `POST` a text, get a complete page back, with highlighted code, for light and dark screens.

mod page;

use std::io::{Read, Write};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Markdown;

wasip2::http::proxy::export!(Markdown);

impl Guest for Markdown {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        match request.method() {
            Method::Post | Method::Put => match text(&request) {
                Ok(text) => send(out, 200, HTML, &page::render(&text)),
                Err(why) => send(out, 400, "text/plain; charset=utf-8", &format!("{why}\n")),
            },
            _ => send(out, 200, HTML, &page::render(include_str!("welcome.md"))),
        }
    }
}

const HTML: &str = "text/html; charset=utf-8";

/// The request's whole body, which must be a text.
fn text(request: &IncomingRequest) -> Result<String, String> {
    let mut text = String::new();
    let incoming = request.consume().map_err(|()| "the body was read before".to_owned())?;
    let read = match incoming.stream() {
        Ok(mut body) => body.read_to_string(&mut text).map_err(|error| format!("the body cannot be read: {error}")),
        Err(()) => Err("the body was read before".to_owned()),
    };
    IncomingBody::finish(incoming);
    read.map(|_| text)
}

fn send(out: ResponseOutparam, status: u16, content_type: &str, text: &str) {
    let headers = Fields::new();
    let _ = headers.append("content-type", content_type.as_bytes());
    let _ = headers.append("content-length", text.len().to_string().as_bytes());
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(mut stream) = body.write() {
        // The caller may have gone away: there is nobody to tell.
        let _ = stream.write_all(text.as_bytes()).and_then(|()| Write::flush(&mut stream));
    }
    let _ = OutgoingBody::finish(body, None);
}
