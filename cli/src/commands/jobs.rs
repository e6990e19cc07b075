//! Jobs: submitted, watched, cancelled, tried again, explained.

mod show;
mod wait;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use protocol::api::{Artifact, LogPage};
use protocol::job::{Job, JobArray, JobInput, JobState, JobWhy, NotBefore, SubmitArray, SubmitJob};
use protocol::placement::NO_OWN_NODE;
use protocol::receipt::Outcome;
use protocol::{ByteSize, Code, JobId, Millis};
use reqwest::{Method, RequestBuilder};

use super::invoke;
use crate::args::{Invoke, Jobs, List, SubmitJob as Asked};
use crate::client::{Client, idempotency_key, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::target;

/// A longer input is uploaded first.
const INLINE_MAX: usize = 256 * 1024;
/// The largest input that is read into memory.
const INPUT_MAX: usize = 128 * 1024 * 1024;

/// `jobs`
pub(crate) async fn jobs(context: &Context, verb: Option<Jobs>) -> Result<(), Failure> {
    let client = context.client()?;
    let list = Jobs::List { function: None, state: None, label: None, array: None, sort: None, list: List::first() };
    match verb.unwrap_or(list) {
        Jobs::Submit(asked) => submit(context, &client, *asked).await,
        Jobs::List { function, state, label, array, sort, list } => {
            let mut query = Vec::new();
            query.extend(function.map(|name| format!("function={}", segment(&name))));
            query.extend(state.map(|state| format!("state={state}")));
            query.extend(label.map(|(name, value)| format!("label={}", segment(&format!("{name}={value}")))));
            query.extend(array.map(|array| format!("array={array}")));
            query.extend(sort.map(|sort| format!("sort={sort}")));
            let path = if query.is_empty() { "/jobs".to_owned() } else { format!("/jobs?{}", query.join("&")) };
            super::show_page::<Job>(context, &client, &path, &list, show::list).await
        }
        Jobs::Show { job } => {
            let job: Job = client.get(&format!("/jobs/{job}")).await?;
            context.output.result(&job, || show::one(&job))?;
            Ok(())
        }
        Jobs::Wait { jobs, timeout } => wait_for(context, &client, &jobs, timeout).await,
        Jobs::Logs { job, follow } => logs(context, &client, job, follow).await,
        Jobs::Output { job, output, include } => print_output(&client, job, output.as_deref(), include).await,
        Jobs::Cancel { job } => act(context, &client, job, "cancel").await,
        Jobs::Retry { job } => act(context, &client, job, "retry").await,
        Jobs::Why { job } => {
            let why: JobWhy = client.get(&format!("/jobs/{job}/why")).await?;
            context.output.result(&why, || show::why(&why))?;
            Ok(())
        }
    }
}

async fn act(context: &Context, client: &Client, job: JobId, verb: &str) -> Result<(), Failure> {
    let job: Job = client.post(&format!("/jobs/{job}/{verb}"), &serde_json::json!({})).await?;
    let state = if job.cancelling { "cancelling".to_owned() } else { job.state.to_string() };
    context.output.result(&job, || format!("{} {state}", job.id))?;
    Ok(())
}

/// What the flags ask for.
pub(super) async fn body(client: &Client, asked: &Asked) -> Result<SubmitJob, Failure> {
    let input = match &asked.data {
        None => None,
        Some(data) => Some(input(client, data).await?),
    };
    let mut headers = Vec::new();
    for header in &asked.header {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            Failure::usage(format!("{header:?} is not a header")).help("write it as -H 'name: value'")
        })?;
        headers.push((name.trim().to_owned(), value.trim().into()));
    }
    let mut job = SubmitJob {
        method: asked.method.clone(),
        path: Some(target::path(&asked.path)?),
        headers,
        input,
        retries: asked.retries.map(Into::into),
        backoff: asked.backoff.map(Into::into),
        priority: asked.priority.map(Into::into),
        not_before: asked.not_before.as_deref().map(time).transpose()?,
        labels: asked.label.iter().cloned().collect(),
        webhook: asked.webhook.clone(),
        ..SubmitJob::of(asked.function.clone())
    };
    asked.limits.ask(&mut job);
    Ok(job)
}

async fn submit(context: &Context, client: &Client, asked: Asked) -> Result<(), Failure> {
    let body = body(client, &asked).await?;
    let once = asked.idempotency_key.unwrap_or_else(idempotency_key);
    if let Some(lines) = &asked.each_line {
        let text = String::from_utf8(read(lines.strip_prefix('@').unwrap_or(lines)).await?).map_err(|why| {
            Failure::usage("The file of inputs is not UTF-8 text")
                .why(why)
                .help("with --each-line each line is an input; other bytes are one input, with -d @FILE")
        })?;
        let inputs = text.lines().map(|line| JobInput::Text(line.to_owned())).collect();
        let array = SubmitArray { job: body, inputs };
        let request = client.api(Method::POST, "/jobs/arrays")?.header("idempotency-key", once).json(&array);
        let array: JobArray = client.read(request).await?;
        context.output.result(&array, || array.jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        context.output.note(format!("crowdcloud jobs list --array {}", array.id));
        return Ok(());
    }
    let request = client.api(Method::POST, "/jobs")?.header("idempotency-key", once).json(&body);
    let job: Job = client.read(request).await?;
    if !asked.wait {
        context.output.result(&job, || job.id.to_string())?;
        waits(context, &job);
        return Ok(());
    }
    then_output(context, client, job.id, asked.output.as_deref()).await
}

/// How to wait for a job; and what it waits for itself, where that is no matter of a moment.
fn waits(context: &Context, job: &Job) {
    if job.reason.contains(NO_OWN_NODE) {
        context.output.note(format!("warning: {}", job.reason));
    }
    context.output.note(format!("crowdcloud jobs wait {}", job.id));
}

/// `invoke --async`
pub(super) async fn invoke(
    context: &Context,
    client: &Client,
    request: RequestBuilder,
    args: &Invoke,
) -> Result<(), Failure> {
    let request = request.header("prefer", "respond-async").header("idempotency-key", idempotency_key());
    let response = request.send().await.map_err(|error| client.lost(&error))?;
    let location = response.headers().get("location").and_then(|location| location.to_str().ok());
    let deferred = response.status().as_u16() == 202 && location.is_some_and(|at| at.contains("/api/v1/jobs/"));
    if !invoke::by_platform(&response) && !deferred {
        context.output.note("the function belongs to another account, so it was called at once, without a job");
        return invoke::own(context, client, response, args).await;
    }
    if !response.status().is_success() {
        return Err(crate::client::refused(response).await);
    }
    let body = response.bytes().await.map_err(|error| client.lost(&error))?;
    let job: Job = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(Exit::Platform, "unexpected_answer", "The response is not a job").why(error))?;
    if !args.wait {
        context.output.result(&job, || job.id.to_string())?;
        waits(context, &job);
        return Ok(());
    }
    then_output(context, client, job.id, args.output.as_deref()).await
}

/// Waits, then prints the answer; a job without one is a failure.
async fn then_output(
    context: &Context,
    client: &Client,
    id: JobId,
    output: Option<&std::path::Path>,
) -> Result<(), Failure> {
    context.output.note(format!("job {id}"));
    let job = wait::until_ended(context, client, id, None).await?;
    if job.status.is_some() {
        print_output(client, id, output, false).await?;
    }
    match job.state {
        JobState::Succeeded => Ok(()),
        _ => Err(failed(&job)),
    }
}

/// A text where it is one, else bytes; a long one is uploaded.
pub(super) async fn input(client: &Client, data: &str) -> Result<JobInput, Failure> {
    let bytes = match (data, data.strip_prefix('@')) {
        ("-", _) => read("-").await?,
        (_, Some(path)) => read(path).await?,
        (text, None) => return Ok(JobInput::Text(text.to_owned())),
    };
    if bytes.len() > INPUT_MAX {
        let (size, most) = (ByteSize(bytes.len() as u64), ByteSize(INPUT_MAX as u64));
        let what = format!("The input has {size}; at most {most} can be sent");
        return Err(Failure::new(Exit::Limit, Code::BodyTooLarge.as_str(), what));
    }
    if bytes.len() > INLINE_MAX {
        let uploaded: Artifact = client.read(client.api(Method::POST, "/uploads")?.body(bytes)).await?;
        return Ok(JobInput::Upload(uploaded.digest));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => JobInput::Text(text),
        Err(error) => JobInput::Base64(STANDARD.encode(error.into_bytes())),
    })
}

/// A file, or standard input.
async fn read(path: &str) -> Result<Vec<u8>, Failure> {
    if path == "-" {
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut tokio::io::stdin(), &mut bytes).await?;
        return Ok(bytes);
    }
    tokio::fs::read(path).await.map_err(|why| {
        Failure::new(Exit::Usage, "no_file", format!("{path} cannot be read")).why(why).help("check the file's name")
    })
}

/// A time, or so long from when the job is submitted: sent as such, so that the command may be repeated.
fn time(text: &str) -> Result<NotBefore, Failure> {
    text.parse().map_err(|error: String| {
        Failure::usage("--not-before is neither a time nor a duration")
            .why(error)
            .help("write it as --not-before 10m, or --not-before 2027-01-31T08:00:00Z")
    })
}

async fn wait_for(context: &Context, client: &Client, jobs: &[JobId], most: Option<Millis>) -> Result<(), Failure> {
    let until = most.map(|most| tokio::time::Instant::now() + most.duration());
    let mut worst = None;
    let waits = jobs.iter().map(|id| wait::until_ended(context, client, *id, until));
    let mut ended = futures::stream::iter(waits).buffered(8);
    while let Some(job) = ended.next().await {
        let job = job?;
        context.output.result(&job, || format!("{} {}", job.id, job.state))?;
        if job.state != JobState::Succeeded {
            context.output.note(format!("{}: {}", job.id, job.reason));
            worst.get_or_insert(exit(&job));
        }
    }
    worst.map_or(Ok(()), |exit| Err(Failure::silent(exit)))
}

/// The exit status of a job that did not succeed.
fn exit(job: &Job) -> Exit {
    match (job.state, job.code.map(Outcome::of)) {
        (JobState::TimedOut, _) | (JobState::Dead, Some(Outcome::TimedOut)) => Exit::Timeout,
        (JobState::Dead, Some(Outcome::PlatformFailed)) => Exit::Platform,
        _ => Exit::Function,
    }
}

fn failed(job: &Job) -> Failure {
    let code = job.code.map_or("job_failed", Code::as_str);
    let what = match job.state {
        JobState::Failed => "The job failed",
        JobState::TimedOut => "The job timed out",
        JobState::Cancelled => "The job was cancelled",
        JobState::Dead => "The job is dead: it is not tried again",
        _ => "The job has not succeeded",
    };
    Failure::new(exit(job), code, what)
        .why(&job.reason)
        .help(format!("crowdcloud jobs logs {0}; crowdcloud jobs retry {0}", job.id))
}

/// The answer as it was; the platform's word, where there is none.
async fn print_output(
    client: &Client,
    job: JobId,
    output: Option<&std::path::Path>,
    include: bool,
) -> Result<(), Failure> {
    let request = client.request(Method::GET, &format!("/api/v1/jobs/{job}/output"))?;
    let response = request.send().await.map_err(|error| client.lost(&error))?;
    if invoke::by_platform(&response) {
        return Err(crate::client::refused(response).await);
    }
    invoke::answer(client, response, output, include).await
}

async fn logs(context: &Context, client: &Client, id: JobId, follow: bool) -> Result<(), Failure> {
    let mut shown = 0;
    loop {
        // Asked for before the lines: what came before the end is shown.
        let ended = !follow || client.get::<Job>(&format!("/jobs/{id}")).await?.state.ended();
        let page: LogPage = client.get(&format!("/jobs/{id}/logs")).await?;
        for line in page.items.iter().skip(shown) {
            super::logs::show(context, false, line)?;
        }
        shown = shown.max(page.items.len());
        if ended {
            if shown == 0 {
                context.output.note("its runs have written nothing so far");
            }
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f23_a_relative_time_is_sent_as_it_was_written() {
        assert_eq!(time("2h").ok(), Some(NotBefore::After(Millis::seconds(7200))));
        assert!(matches!(time("2027-01-31T08:00:00Z").ok(), Some(NotBefore::At(_))));
        assert!(time("tomorrow").is_err());
    }
}
