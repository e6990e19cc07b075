//! A whole request in, a whole answer out: enough for functions that need all of the body at once.

use std::io::{Read, Write};

use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// What was asked.
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// What stands after `?`, or nothing.
    pub query: String,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// A parameter of the query, as it was written.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// What is answered.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body }
    }

    pub fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Reads the request, asks `answer`, and sends what it says.
pub fn serve(request: IncomingRequest, out: ResponseOutparam, answer: impl FnOnce(&Request) -> Answer) {
    let answer = match read(&request) {
        Ok(request) => answer(&request),
        Err(error) => Answer::text(400, &format!("the body could not be read: {error}")),
    };
    send(out, &answer);
}

fn read(request: &IncomingRequest) -> std::io::Result<Request> {
    let path = request.path_with_query().unwrap_or_default();
    let query = path.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
    let mut body = Vec::new();
    if let Ok(incoming) = request.consume() {
        if let Ok(mut stream) = incoming.stream() {
            stream.read_to_end(&mut body)?;
        }
        IncomingBody::finish(incoming);
    }
    Ok(Request { method: name(&request.method()), query, body })
}

fn name(method: &Method) -> String {
    match method {
        Method::Other(name) => name.clone(),
        known => format!("{known:?}").trim_start_matches("Method::").to_ascii_uppercase(),
    }
}

fn send(out: ResponseOutparam, answer: &Answer) {
    let headers = Fields::new();
    for (name, value) in &answer.headers {
        let _ = headers.append(name, value.as_bytes());
    }
    let _ = headers.append("content-length", answer.body.len().to_string().as_bytes());
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(answer.status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(mut stream) = body.write() {
        // The caller may have gone away: there is nobody to tell.
        let _ = stream.write_all(&answer.body).and_then(|()| Write::flush(&mut stream));
    }
    let _ = OutgoingBody::finish(body, None);
}
