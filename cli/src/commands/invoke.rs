//! Calls a function as a developer's program would; both bodies are streamed.

use std::io::Write as _;

use futures::StreamExt as _;
use protocol::{headers, proxy_status};
use reqwest::{Method, Response};
use tokio_util::io::ReaderStream;

use crate::args::Invoke;
use crate::client::{Client, refused};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Answer;
use crate::target;

/// `invoke`
pub(crate) async fn invoke(context: &Context, args: Invoke) -> Result<(), Failure> {
    let client = context.client()?;
    let path = target::path(&args.path)?;
    let function = match args.function.split_once('/') {
        Some(_) => target::function(&args.function),
        None => format!("{}/{}", context.account(&client).await?, target::function(&args.function)),
    };
    let method = match (&args.method, &args.data) {
        (Some(method), _) => Method::from_bytes(method.as_bytes())
            .map_err(|_| Failure::usage(format!("{method:?} is not a method")).help("use one such as -X POST"))?,
        (None, Some(_)) => Method::POST,
        (None, None) => Method::GET,
    };
    let mut request = client.request(method, &format!("/f/{function}{path}"))?;
    for header in &args.header {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            Failure::usage(format!("{header:?} is not a header")).help("write it as -H 'name: value'")
        })?;
        request = request.header(name.trim(), value.trim());
    }
    if let Some(data) = &args.data {
        request = request.body(body(data).await?);
    }
    if args.later {
        return super::jobs::invoke(context, &client, request, &args).await;
    }
    let response = request.send().await.map_err(|error| client.lost(&error))?;
    if let Some(run) = response.headers().get(headers::RUN).and_then(|value| value.to_str().ok()) {
        context.output.detail(format!("run: {run}"));
    }
    if by_platform(&response) {
        if args.include {
            let mut out = Answer::new();
            out.write(&head(&response))?;
            out.end()?;
        }
        return Err(refused(response).await);
    }
    own(context, &client, response, &args).await
}

/// A function's own answer, whatever it says. That it failed is the exit status.
pub(super) async fn own(context: &Context, client: &Client, response: Response, args: &Invoke) -> Result<(), Failure> {
    let status = response.status();
    answer(client, response, args.output.as_deref(), args.include).await?;
    if status.is_server_error() {
        context.output.note(format!("the function answered {status}"));
        return Err(Failure::silent(Exit::Function));
    }
    Ok(())
}

/// Whether the platform answered instead of the function. A function may answer with any status and media type: only the
/// header says whose answer it is.
pub(super) fn by_platform(response: &Response) -> bool {
    let status = response.headers().get(proxy_status::HEADER).and_then(|value| value.to_str().ok());
    status.is_some_and(proxy_status::is_ours)
}

/// A text, a file, or standard input.
pub(super) async fn body(data: &str) -> Result<reqwest::Body, Failure> {
    let path = match data {
        "-" | "@-" => {
            return Ok(reqwest::Body::wrap_stream(ReaderStream::with_capacity(tokio::io::stdin(), 64 * 1024)));
        }
        text => match text.strip_prefix('@') {
            Some(path) => path,
            None => return Ok(text.to_owned().into()),
        },
    };
    let file = tokio::fs::File::open(path).await.map_err(|why| {
        Failure::new(Exit::Usage, "no_file", format!("{path} cannot be read")).why(why).help("check the name after @")
    })?;
    Ok(file.into())
}

/// Status line and headers.
fn head(response: &Response) -> Vec<u8> {
    let status = response.status();
    let mut text =
        format!("HTTP/1.1 {} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default()).into_bytes();
    for (name, value) in response.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text.push(b'\n');
    text
}

/// The answer, piece by piece, to standard output or a file.
pub(super) async fn answer(
    client: &Client,
    response: Response,
    output: Option<&std::path::Path>,
    include: bool,
) -> Result<(), Failure> {
    let mut out = Answer::new();
    if include {
        out.write(&head(&response))?;
    }
    let create = |path: &std::path::Path| std::fs::File::create(path).map_err(|error| unwritten(path, error));
    let mut file = output.map(|path| create(path).map(|file| (path, file))).transpose()?;
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            let cut = client.lost(&error);
            match cut.exit() {
                Exit::Timeout => cut,
                _ => Failure::new(Exit::Function, "answer_cut", "The answer broke off")
                    .why("the function failed or was stopped after it had begun to answer")
                    .help("`crowdcloud invocations` and `crowdcloud logs FUNCTION` say why"),
            }
        })?;
        match &mut file {
            Some((path, file)) => file.write_all(&piece).map_err(|error| unwritten(path, error))?,
            None => out.write(&piece)?,
        }
    }
    out.end()
}

/// The failure to write to this file.
fn unwritten(path: &std::path::Path, error: std::io::Error) -> Failure {
    crate::output::unwritten(&path.display().to_string(), error)
}
