//! A job that is being written: its fields, and what is asked of the API then.

use std::collections::BTreeMap;
use std::str::FromStr;

use protocol::Timestamp;
use protocol::job::{Asked, JobInput, NotBefore, SubmitJob};
use serde_json::Value;
use sycamore::prelude::*;
use web_sys::File;

use crate::api::{Result, Trouble};
use crate::base64;
use crate::load::Action;
use crate::pages::function_test::parse_headers;
use crate::ui::limits::{LimitFields, LimitTexts};
use crate::ui::upload::{Upload, upload};

/// A longer file is uploaded before.
const INLINE_BYTES_MAX: f64 = 262_144.0;

/// The fields.
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    /// What is run: `function`, or `file`, which becomes one first.
    pub(crate) program: Signal<String>,
    /// The function's name.
    pub(crate) function: Signal<String>,
    /// A version or an alias; empty: `live`.
    pub(crate) reference: Signal<String>,
    /// The request's method.
    pub(crate) method: Signal<String>,
    /// Path and query.
    pub(crate) path: Signal<String>,
    /// One on each line.
    pub(crate) headers: Signal<String>,
    /// `text`, `json`, `file` or `lines`; a text that is empty is no input.
    pub(crate) kind: Signal<String>,
    /// The input, where it is written here.
    pub(crate) text: Signal<String>,
    /// The input, where it is a file.
    pub(crate) file: Signal<Option<File>>,
    /// What one try may use, and how it is tried; empty where nothing is asked for.
    pub(crate) limits: LimitFields,
    /// A number.
    pub(crate) retries: Signal<String>,
    /// Such as `5s`.
    pub(crate) backoff: Signal<String>,
    /// A number.
    pub(crate) priority: Signal<String>,
    /// As the browser's field for a time gives it, in its time zone.
    pub(crate) not_before: Signal<String>,
    /// `name=value`, one on each line.
    pub(crate) labels: Signal<String>,
    /// A URL.
    pub(crate) webhook: Signal<String>,
    /// Of the file.
    pub(crate) upload: Upload,
    /// Busy, or in trouble.
    pub(crate) action: Action,
}

impl Draft {
    /// Nothing asked for.
    pub(crate) fn new(function: String) -> Self {
        let empty = || create_signal(String::new());
        Self {
            program: create_signal("function".to_owned()),
            function: create_signal(function),
            reference: empty(),
            method: create_signal("POST".to_owned()),
            path: create_signal("/".to_owned()),
            headers: empty(),
            kind: create_signal("text".to_owned()),
            text: empty(),
            file: create_signal(None),
            limits: LimitFields::new(),
            retries: empty(),
            backoff: empty(),
            priority: empty(),
            not_before: empty(),
            labels: empty(),
            webhook: empty(),
            upload: Upload::new(),
            action: Action::new(),
        }
    }

    /// The fields as one value; tracked.
    pub(crate) fn written(self) -> Written {
        let not_before = self.not_before.get_clone();
        Written {
            function: self.function.get_clone(),
            reference: self.reference.get_clone(),
            method: self.method.get_clone(),
            path: self.path.get_clone(),
            headers: self.headers.get_clone(),
            kind: self.kind.get_clone(),
            text: self.text.get_clone(),
            file: self.file.get_clone().map(|file| file.name()),
            limits: self.limits.written(),
            retries: self.retries.get_clone(),
            backoff: self.backoff.get_clone(),
            priority: self.priority.get_clone(),
            not_before: (!not_before.is_empty()).then(|| local_time(&not_before)).flatten(),
            labels: self.labels.get_clone(),
            webhook: self.webhook.get_clone(),
        }
    }

    /// The input, of which a long file is uploaded now; none where there is none.
    pub(crate) async fn input(self, account: &str) -> Result<Option<JobInput>> {
        let written = untrack(|| self.written());
        if written.kind != "file" {
            return written.inline();
        }
        let Some(file) = self.file.get_clone_untracked() else {
            return Err(Trouble::of_input("input", "No file is chosen.", "Choose one, or another kind of input."));
        };
        if file.size() > INLINE_BYTES_MAX {
            let artifact = upload(account, "/uploads", &file, self.upload).await;
            let of_file = |trouble: Trouble| if trouble.field.is_some() { trouble.at("input") } else { trouble };
            let artifact = artifact.map_err(of_file)?;
            return Ok(Some(JobInput::Upload(artifact.digest)));
        }
        let unreadable = |_| Trouble::of_input("input", "The browser could not read the file.", "Choose it again.");
        let buffer = wasm_bindgen_futures::JsFuture::from(file.array_buffer()).await.map_err(unreadable)?;
        let bytes = web_sys::js_sys::Uint8Array::new(&buffer).to_vec();
        Ok(Some(match String::from_utf8(bytes) {
            Ok(text) => JobInput::Text(text),
            Err(error) => JobInput::Base64(base64::encode(error.as_bytes())),
        }))
    }
}

/// A time of the browser's time zone, as its field writes it.
#[allow(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
fn local_time(text: &str) -> Option<Timestamp> {
    let ms = web_sys::js_sys::Date::new(&text.into()).get_time();
    ms.is_finite().then_some(Timestamp(ms as i64))
}

/// What is said of a job within an array or a trigger, as of the job itself: its fields are the same.
pub(crate) fn of_job(trouble: Trouble) -> Trouble {
    let field = trouble.field.as_ref().map(|field| field.below("job"));
    Trouble { field, ..trouble }
}

/// The fields at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Written {
    pub(crate) function: String,
    pub(crate) reference: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: String,
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) file: Option<String>,
    pub(crate) limits: LimitTexts,
    pub(crate) retries: String,
    pub(crate) backoff: String,
    pub(crate) priority: String,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) labels: String,
    pub(crate) webhook: String,
}

/// A value; what cannot be read is asked for as it stands, so that the platform's refusal names the range.
fn asked<T: FromStr>(text: &str) -> Option<Asked<T>> {
    asked_as(text.trim(), |text| text.parse().ok())
}

fn asked_as<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Asked<T>> {
    let other = || Asked::Other(Value::String(text.to_owned()));
    (!text.is_empty()).then(|| read(text).map_or_else(other, Asked::Value))
}

impl Written {
    /// The job, without its input.
    pub(crate) fn job(&self) -> Result<SubmitJob> {
        let not_header = |line| {
            Trouble::of_input("headers", format!("{line} is not a header."), "Write name: value, one on each line.")
        };
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let headers = parse_headers(&self.headers).map_err(not_header)?;
        let mut job = SubmitJob {
            reference: self.reference.parse().ok(),
            method: Some(self.method.clone()).filter(|method| method != "POST"),
            path: text(&self.path).filter(|path| path != "/"),
            headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
            retries: asked(&self.retries),
            backoff: asked(&self.backoff),
            priority: asked(&self.priority),
            not_before: self.not_before.map(NotBefore::At),
            labels: self.labels()?,
            webhook: text(&self.webhook),
            ..SubmitJob::of(self.function.clone())
        };
        for (limit, text) in self.limits.each() {
            if let Some(asked) = asked_as(text, |text| limit.read(text).ok()) {
                job.ask(limit, asked);
            }
        }
        Ok(job)
    }

    /// The labels.
    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>> {
        let lines = self.labels.lines().map(str::trim).filter(|line| !line.is_empty());
        let pairs = lines.map(|line| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                Err(Trouble::of_input("labels", format!("{line} has no value."), "Write name=value, one on each line."))
            }
        });
        pairs.collect()
    }

    /// The input that stands in the form itself.
    pub(crate) fn inline(&self) -> Result<Option<JobInput>> {
        match self.kind.as_str() {
            "text" if !self.text.is_empty() => Ok(Some(JobInput::Text(self.text.clone()))),
            "json" => match serde_json::from_str(&self.text) {
                Ok(value) => Ok(Some(JobInput::Json(value))),
                Err(error) => Err(Trouble::of_input(
                    "input",
                    format!("It is not JSON: {error}."),
                    "Mend it, or send it as a text.",
                )),
            },
            _ => Ok(None),
        }
    }

    /// An input for each line, where it is to be many jobs.
    pub(crate) fn inputs(&self) -> Option<Vec<JobInput>> {
        let lines = self.text.lines().filter(|line| !line.trim().is_empty());
        (self.kind == "lines").then(|| lines.map(|line| JobInput::Text(line.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Written, of_job};
    use crate::api::Trouble;
    use crate::ui::limits::LimitTexts;
    use protocol::job::{Asked, JobInput, SubmitJob};
    use protocol::{Code, Problem};

    fn written() -> Written {
        let [function, method, path] = ["thumbs", "POST", "/"].map(str::to_owned);
        Written { function, method, path, kind: "text".to_owned(), ..Written::default() }
    }

    #[test]
    fn what_is_untouched_is_not_asked_for() {
        assert_eq!(written().job().unwrap(), SubmitJob::of("thumbs"));
        assert_eq!(written().inline().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_the_platform_s_to_refuse() {
        let limits = LimitTexts::default().with("cpus", " two ").with("memory", "1GiB");
        let job = Written { limits, retries: "3".into(), ..written() }.job().unwrap();
        assert_eq!((job.memory, job.timeout), (Some(Asked::Value(protocol::ByteSize::mib(1024))), None));
        assert_eq!(job.retries, Some(Asked::Value(3)));
        let refused = job.cpus.unwrap().within("cpus", 1, 64).unwrap_err();
        assert_eq!(refused.why, "cpus is \"two\"; allowed: 1 to 64");
    }

    #[test]
    fn labels_and_headers_have_lines() {
        let job = Written { labels: "kind=test\n\n a = b=c".into(), headers: "Accept: x".into(), ..written() };
        let job = job.job().unwrap();
        assert_eq!(
            job.labels.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "b=c".to_owned()), ("kind".to_owned(), "test".to_owned())]
        );
        assert_eq!(job.headers, [("Accept".to_owned(), protocol::job::HeaderBytes::from("x"))]);
        let refused = |written: Written| written.job().unwrap_err();
        assert!(refused(Written { labels: "kind".into(), ..written() }).is_about(&["labels"]));
        assert!(refused(Written { headers: "kind".into(), ..written() }).is_about(&["headers"]));
    }

    #[test]
    fn inputs_are_what_they_are_said_to_be() {
        let of = |kind: &str, text: &str| Written { kind: kind.into(), text: text.into(), ..written() };
        assert_eq!(of("text", "{").inline().unwrap(), Some(JobInput::Text("{".into())));
        assert_eq!(of("json", "[1]").inline().unwrap(), Some(JobInput::Json(serde_json::json!([1]))));
        assert!(of("json", "{").inline().unwrap_err().is_about(&["input"]));
        assert_eq!(of("none", "x").inline().unwrap(), None);
        assert_eq!(of("text", "x").inputs(), None);
        let lines = of("lines", "a\n\nb\n").inputs().unwrap();
        assert_eq!(lines, [JobInput::Text("a".into()), JobInput::Text("b".into())]);
    }

    #[test]
    fn what_is_refused_of_a_trigger_s_job_is_about_the_job_s_own_field() {
        let refused = |input: &str| of_job(Trouble::from(Problem::of(Code::InvalidField, input, "why")));
        assert!(refused("job.cpus").is_about(&["cpus"]));
        assert!(refused("job.labels").is_about(&["labels"]));
        assert!(refused("inputs[3].base64").is_about(&["inputs"]));
        assert!(refused("cron").is_about(&["cron"]));
    }
}
