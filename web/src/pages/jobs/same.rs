//! The same job by the command line and by curl.

use protocol::Limits;
use protocol::job::{JobInput, SubmitArray, SubmitJob};
use sycamore::prelude::*;

use super::draft::Written;
use super::program::Program;
use crate::format::shell;
use crate::nav;
use crate::ui::code::code_block;

/// Both, as the form stands.
pub(crate) fn same(program: Program, account: String) -> View {
    let written = create_memo(move || program.written());
    let cli = View::from_dynamic(move || {
        let submit = written.with(|written| cli(written, &account));
        let words = program.command(&account).map_or_else(|| submit.clone(), |deploy| format!("{deploy}\n{submit}"));
        code_block(words, "command")
    });
    let curl = View::from_dynamic(move || match written.with(|written| curl(written, &nav::origin())) {
        // A file is deployed before, which takes more than one request.
        Some(_) if program.is_file() => view! {},
        Some(curl) => {
            let block = code_block(curl, "curl command");
            view! { p(class="soft as") { "As curl" } (block) }
        }
        None => view! {},
    });
    view! { (curl) p(class="soft as") { "As CLI" } (cli) }
}

/// Flags of `crowdcloud jobs submit` and `crowdcloud triggers set` that follow the function.
pub(crate) fn flags(written: &Written) -> Vec<String> {
    let mut words = Vec::new();
    let path = written.path.trim();
    if !path.is_empty() && path != "/" {
        words.push(shell(path));
    }
    if written.method != "POST" {
        words.push(format!("-X {}", written.method));
    }
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(shell).collect()
    };
    words.extend(lines(&written.headers).into_iter().map(|header| format!("-H {header}")));
    let data = match (written.kind.as_str(), &written.file) {
        ("file", Some(file)) => Some(format!("@{file}")),
        ("text" | "json", _) if !written.text.is_empty() => Some(written.text.clone()),
        _ => None,
    };
    words.extend(data.map(|data| format!("-d {}", shell(&data))));
    let limits = Limits::of_jobs().map(|limit| (limit.flag, written.limits.text(limit)));
    let others = [("retries", &written.retries), ("backoff", &written.backoff), ("priority", &written.priority)];
    let others = others.map(|(flag, value)| (flag, value.as_str()));
    let asked = limits.chain(others).filter(|(_, value)| !value.trim().is_empty());
    words.extend(asked.map(|(name, value)| format!("--{name} {}", shell(value.trim()))));
    words.extend(written.not_before.map(|at| format!("--not-before {at}")));
    words.extend(lines(&written.labels).into_iter().map(|label| format!("--label {label}")));
    let webhook = written.webhook.trim();
    if !webhook.is_empty() {
        words.push(format!("--webhook {}", shell(webhook)));
    }
    words
}

/// The function as commands name it.
pub(crate) fn target(written: &Written) -> String {
    let name = if written.function.is_empty() { "NAME" } else { &written.function };
    if written.reference.is_empty() { name.to_owned() } else { format!("{name}@{}", written.reference) }
}

fn cli(written: &Written, account: &str) -> String {
    let mut words = vec![format!("crowdcloud jobs submit {}", target(written))];
    words.extend(flags(written));
    if let Some(inputs) = written.inputs() {
        let lines: Vec<String> = inputs
            .iter()
            .filter_map(|input| match input {
                JobInput::Text(line) => Some(shell(line)),
                _ => None,
            })
            .collect();
        words.insert(0, format!("printf '%s\\n' {} |", lines.join(" ")));
        words.push("--each-line -".to_owned());
    } else {
        words.push("--wait".to_owned());
    }
    words.push(format!("--account {account}"));
    words.join(" ")
}

/// None where it cannot be said so: a file is uploaded before, and what is malformed is no request.
fn curl(written: &Written, origin: &str) -> Option<String> {
    let job = written.job().ok()?;
    let (path, body) = match written.inputs() {
        Some(inputs) => ("jobs/arrays", serde_json::to_string(&SubmitArray { job, inputs }).ok()?),
        None if written.kind == "file" => return None,
        None => ("jobs", serde_json::to_string(&SubmitJob { input: written.inline().ok()?, ..job }).ok()?),
    };
    let lines = [
        "curl".to_owned(),
        "-H \"Authorization: Bearer $(crowdcloud token)\"".to_owned(),
        "-H 'content-type: application/json'".to_owned(),
        format!("-d {}", shell(&body)),
        format!("{origin}/api/v1/{path}"),
    ];
    Some(lines.join(" \\\n  "))
}

#[cfg(test)]
mod tests {
    use super::{cli, curl};
    use crate::pages::jobs::draft::Written;
    use crate::ui::limits::LimitTexts;

    fn written() -> Written {
        let [function, method, path] = ["thumbs", "POST", "/"].map(str::to_owned);
        Written {
            function,
            method,
            path,
            kind: "text".to_owned(),
            text: "hello world".to_owned(),
            ..Written::default()
        }
    }

    #[test]
    fn the_command_line_says_what_differs() {
        assert_eq!(cli(&written(), "ada"), "crowdcloud jobs submit thumbs -d 'hello world' --wait --account ada");
        let asked = Written {
            reference: "v3".into(),
            path: "/a?b".into(),
            limits: LimitTexts::default().with("cpus", "2"),
            labels: "batch=7\n".into(),
            ..written()
        };
        assert_eq!(
            cli(&asked, "ada"),
            "crowdcloud jobs submit thumbs@v3 '/a?b' -d 'hello world' --cpus 2 --label batch=7 --wait --account ada"
        );
        let many = Written { kind: "lines".into(), text: "a\nb c\n".into(), ..written() };
        assert_eq!(
            cli(&many, "ada"),
            "printf '%s\\n' a 'b c' | crowdcloud jobs submit thumbs --each-line - --account ada"
        );
    }

    #[test]
    fn curl_says_the_same() {
        let text = curl(&written(), "http://x").unwrap();
        assert!(text.contains(r#"-d '{"function":"thumbs","input":{"text":"hello world"}}'"#), "{text}");
        assert!(text.ends_with("http://x/api/v1/jobs"), "{text}");
        let many = Written { kind: "lines".into(), text: "a\nb".into(), ..written() };
        assert!(curl(&many, "http://x").unwrap().ends_with("/jobs/arrays"));
        assert_eq!(curl(&Written { kind: "file".into(), ..written() }, ""), None);
        assert_eq!(curl(&Written { labels: "x".into(), ..written() }, ""), None);
    }
}
