//! Calling a function from the page: the request, the answer, and the same as curl and as CLI.

use protocol::api::{Function, TestAnswer, TestCall};
use protocol::names::Reference;
use sycamore::prelude::*;

use crate::api::{Result, Trouble};
use crate::base64;
use crate::calls;
use crate::format::shell;
use crate::load::{Action, Resource};
use crate::pages::function::Subject;
use crate::pages::test_answer::answer_view;
use crate::ui::code::code_block;
use crate::ui::form::{Control, Field, Form, Part, Text, sending};
use crate::ui::page;

/// The largest body that is sent from the page: it travels inside JSON.
const BODY_BYTES_MAX: u32 = 16 * 1024 * 1024;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

#[derive(Clone, Copy)]
struct Request {
    method: Signal<String>,
    path: Signal<String>,
    reference: Signal<String>,
    headers: Signal<String>,
    text: Signal<String>,
    file: Signal<Option<web_sys::File>>,
}

/// The tab.
pub(crate) fn test(subject: Subject) -> View {
    let request = Request {
        method: create_signal("GET".to_owned()),
        path: create_signal("/".to_owned()),
        reference: create_signal(String::new()),
        headers: create_signal(String::new()),
        text: create_signal(String::new()),
        file: create_signal(None),
    };
    let answer = create_signal(None::<TestAnswer>);
    let called = subject.clone();
    let send = sending(move || {
        let subject = called.clone();
        async move {
            let call = request.call().await?;
            let got = calls::test(subject.account(), &subject.name, &call).await?;
            answer.set(Some(got));
            Ok(())
        }
    });
    let form = Form {
        parts: request.parts(subject.data),
        action: Action::new(),
        submit: "Send",
        busy: "Sending…",
        beside: view! {},
        send,
    };
    let shown = subject.clone();
    let answer = View::from_dynamic(move || match answer.get_clone() {
        Some(answer) => answer_view(&shown, answer),
        None => view! { p(class="nothing") { "The response appears here: status, headers, body, duration, logs." } },
    });
    let form = form.view();
    let same = same(request, subject);
    let about = "A private function's call carries a key: crowdcloud token prints one.";
    let elsewhere = page::section("The same, elsewhere", about, same);
    view! {
        div(class="test") {
            section(class="section request-part") { div(class="section-head") { h2 { "Request" } } (form) }
            section(class="section answer-part", aria-live="polite") { div(class="section-head") { h2 { "Response" } } (answer) }
        }
        (elsewhere)
    }
}

/// Whether a request by this method has a body.
fn sends_body(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD")
}

/// What may be meant where no function is known.
pub(crate) fn live() -> Vec<(String, String)> {
    vec![(String::new(), "live".to_owned())]
}

/// The versions and aliases that may be meant, `live` first.
pub(crate) fn references(function: &Function) -> Vec<(String, String)> {
    let mut list = live();
    let others = function.aliases.iter().filter(|alias| alias.name.as_str() != Reference::LIVE);
    list.extend(others.map(|alias| (alias.name.to_string(), alias.name.to_string())));
    list.extend(
        (1..=function.latest.unwrap_or(0)).rev().take(20).map(|number| (format!("v{number}"), format!("v{number}"))),
    );
    list
}

impl Request {
    fn parts(self, function: Resource<Function>) -> Vec<Part> {
        let methods = *create_signal(METHODS.map(|method| (method.to_owned(), method.to_owned())).to_vec());
        let references = create_selector(move || function.ready().as_ref().map_or_else(live, references));
        let has_body = create_selector(move || self.method.with(|method| sends_body(method)));
        let bodiless = create_selector(move || !has_body.get());
        let path = Text { name: "path", placeholder: "/?width=320", code: true, ..Text::default() };
        let headers = Control::Lines("headers", "accept: image/jpeg");
        let none = view! { p(class="hint") { "GET and HEAD send no body. Choose POST or PUT to send one." } };
        vec![
            Part::Row(
                "Method, path and version",
                vec![
                    Field::new("method", "Method", Control::Menu("method", methods), self.method),
                    Field::new("path", "Path and query", Control::Line(path), self.path),
                    Field::new("reference", "Version", Control::Menu("reference", references), self.reference),
                ],
            ),
            Part::Field(Field::new("headers", "Headers", headers, self.headers).hint("One on each line, name: value")),
            Part::While(
                has_body,
                vec![
                    Part::Field(Field::new("body", "Body", Control::Lines("body", ""), self.text)),
                    Part::Field(Field::file("file", "or a file", "file", self.file)),
                ],
            ),
            Part::While(bodiless, vec![Part::About(none)]),
        ]
    }

    async fn call(self) -> Result<TestCall> {
        let method = self.method.get_clone_untracked();
        let has_body = sends_body(&method);
        let body = match self.file.get_clone_untracked() {
            Some(file) if has_body => read(&file).await?,
            _ if has_body => self.text.get_clone_untracked().into_bytes(),
            _ => Vec::new(),
        };
        Ok(TestCall {
            method,
            path: normal_path(&self.path.get_clone_untracked()),
            headers: parse_headers(&self.headers.get_clone_untracked()).map_err(|line| {
                Trouble::of_input("headers", format!("{line} is not a header."), "Write name: value, one on each line.")
            })?,
            body: base64::encode(&body),
            reference: self.reference.get_clone_untracked().parse().ok(),
        })
    }
}

async fn read(file: &web_sys::File) -> Result<Vec<u8>> {
    if file.size() > f64::from(BODY_BYTES_MAX) {
        return Err(Trouble::here(
            "body_too_large",
            "This file is too large to be sent from the page.",
            "Send it with the curl command below, which streams it.",
        )
        .at("file"));
    }
    let buffer = wasm_bindgen_futures::JsFuture::from(file.array_buffer()).await.map_err(|_| {
        Trouble::here("unreadable_file", "The browser could not read the file.", "Choose it again.").at("file")
    })?;
    Ok(web_sys::js_sys::Uint8Array::new(&buffer).to_vec())
}

fn normal_path(path: &str) -> String {
    let path = path.trim();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Lines of `name: value`; the first that is none is given back.
pub(crate) fn parse_headers(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
            _ => Err(line.to_owned()),
        })
        .collect()
}

fn same(request: Request, subject: Subject) -> View {
    let public = {
        let data = subject.data;
        create_memo(move || data.ready().is_some_and(|function| function.public))
    };
    let words = create_memo(move || Words {
        method: request.method.get_clone(),
        path: normal_path(&request.path.get_clone()),
        reference: request.reference.get_clone(),
        headers: parse_headers(&request.headers.get_clone()).unwrap_or_default(),
        text: request.text.get_clone(),
        file: request.file.get_clone().map(|file| file.name()),
    });
    let of_cli = subject.clone();
    let curl =
        View::from_dynamic(move || code_block(words.get_clone().curl(&subject.url(), public.get()), "curl command"));
    let cli = View::from_dynamic(move || code_block(words.with(|w| w.cli(&of_cli.name, of_cli.account())), "command"));
    view! { p(class="soft as") { "As curl" } (curl) p(class="soft as") { "As CLI" } (cli) }
}

/// A request as a shell's words.
#[derive(Clone, PartialEq)]
struct Words {
    method: String,
    path: String,
    reference: String,
    headers: Vec<(String, String)>,
    text: String,
    file: Option<String>,
}

impl Words {
    fn data(&self) -> Option<String> {
        match (&self.file, self.method.as_str()) {
            (_, "GET" | "HEAD") => None,
            (Some(file), _) => Some(format!("@{file}")),
            (None, _) => (!self.text.is_empty()).then(|| self.text.clone()),
        }
    }

    fn curl(&self, url: &str, public: bool) -> String {
        let at = if self.reference.is_empty() { String::new() } else { format!("@{}", self.reference) };
        let mut words = vec!["curl -i".to_owned()];
        match self.method.as_str() {
            "GET" => {}
            "HEAD" => words.push("-I".to_owned()),
            "POST" if self.data().is_some() => {}
            method => words.push(format!("-X {method}")),
        }
        if !public {
            words.push("-H \"Authorization: Bearer $(crowdcloud token)\"".to_owned());
        }
        words.extend(self.headers.iter().map(|(name, value)| format!("-H {}", shell(&format!("{name}: {value}")))));
        words.extend(self.data().map(|data| format!("--data-binary {}", shell(&data))));
        words.push(shell(&format!("{url}{at}{}", self.path)));
        words.join(" \\\n  ")
    }

    fn cli(&self, function: &str, account: &str) -> String {
        let at = if self.reference.is_empty() { String::new() } else { format!("@{}", self.reference) };
        let mut words = vec![format!("crowdcloud invoke {function}{at} {}", shell(&self.path)), "-i".to_owned()];
        if self.method != "GET" {
            words.push(format!("-X {}", self.method));
        }
        words.extend(self.headers.iter().map(|(name, value)| format!("-H {}", shell(&format!("{name}: {value}")))));
        match (self.data(), &self.file) {
            (Some(data), Some(_)) => words.push(format!("-d {}", shell(&data))),
            (Some(data), None) => {
                words.insert(0, format!("printf %s {} |", shell(&data)));
                words.push("-d -".to_owned());
            }
            (None, _) => {}
        }
        words.push(format!("--account {account}"));
        words.join(" ")
    }
}

#[cfg(test)]
mod tests;
