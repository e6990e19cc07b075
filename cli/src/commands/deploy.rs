//! Build, upload, release: from a folder or a file to a URL and a curl that works as pasted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use protocol::api::{Artifact, ChangeFunction, CreateVersion, Function, NewFunction, Version, VersionState};
use protocol::placement::LaneReason;
use protocol::route::Scope;
use protocol::{ByteSize, Code, Example, Kind, Lane, Name};
use reqwest::Method;
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::curl::Curl;
use super::functions::path;
use crate::args::{Deploy, Global};
use crate::client::{Client, Credential, idempotency_key};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::manifest::Project;
use crate::output::Output;

/// How long a version may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// How often a compiling version is asked for.
const POLL_EVERY: Duration = Duration::from_millis(300);
/// How long an upload may take.
const UPLOAD_WITHIN: Duration = Duration::from_secs(900);

/// What is to be released.
struct Plan {
    function: Name,
    /// Set the function's access; none: as it is, private at first.
    public: Option<bool>,
    artifact: PathBuf,
    version: CreateVersion,
    example: Option<Example>,
}

/// What `deploy` prints.
#[derive(Serialize)]
struct Released {
    function: Name,
    account: Name,
    version: u32,
    alias: Name,
    url: String,
    browser_url: String,
    curl: String,
    artifact: String,
    /// What keeps its runs from beginning now.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    #[serde(flatten)]
    found: Found,
}

/// What was found in the artifact and decided for its runs.
#[derive(Serialize)]
struct Found {
    kind: Option<Kind>,
    format: Option<String>,
    lane: Option<Lane>,
    lane_reason: Option<LaneReason>,
    notes: Vec<String>,
}

/// `deploy`
pub(crate) async fn deploy(global: &Global, args: Deploy) -> Result<(), Failure> {
    let project = if is_file(&args.target)? { None } else { Some(Project::open(&args.target)?) };
    let context = Context::new(global, project.as_ref())?;
    let output = &context.output;
    // Who may not deploy waits for no build.
    let client = context.client()?;
    let account = context.account(&client).await?;
    let artifact = match &project {
        None => args.target.clone(),
        Some(project) if args.dry_run => project.artifact(),
        Some(project) if args.no_build => super::build::built(project)?,
        Some(project) => super::build::run(output, project).await?,
    };
    let plan = plan(&args, project.as_ref(), artifact)?;
    if args.dry_run {
        return dry_run(&context, &client, &account, &plan, project.as_ref()).await;
    }
    let started = Instant::now();
    let function = existing(&client, &plan).await?;
    let digest = upload(&client, &plan.artifact, output).await?.digest;
    // A function comes with its first version: where that is refused, there is neither.
    let create = function.is_none().then(|| NewFunction { public: plan.public.unwrap_or(false) });
    let body = CreateVersion { artifact: digest, create, ..plan.version.clone() };
    let version = release(&client, &plan.function, &body, output).await?;
    let function = match function {
        Some(function) => function,
        None => client.get(&path(plan.function.as_str())).await?,
    };
    let key = if function.public { None } else { function_key(&context, &client, &account, &plan.function).await? };
    let released = released(&context, account, &plan, &function, &version, key.as_deref());
    let alias = &released.alias;
    for line in super::versions::found(&version) {
        output.note(format!("  {line}"));
    }
    output.note(format!("deployed in {:.1} s; {alias} is v{}", started.elapsed().as_secs_f32(), version.number));
    output.result(&released, || {
        format!("{} v{}\n{}\n\n{}", released.function, released.version, released.url, released.curl)
    })?;
    if key.is_none() && !function.public {
        output.note("your key may not make keys: put one with the scope `invoke` in the place of cck_...");
    }
    Ok(())
}

/// A file is an artifact, a folder has a manifest.
fn is_file(target: &Path) -> Result<bool, Failure> {
    match std::fs::metadata(target) {
        Ok(metadata) => Ok(metadata.is_file() && target.file_name().is_none_or(|name| name != crate::manifest::FILE)),
        Err(why) => Err(Failure::new(Exit::Usage, "no_file", format!("{} cannot be read", target.display()))
            .why(why)
            .help("name a folder with crowdcloud.toml, or an artifact: crowdcloud deploy FILE --name NAME")),
    }
}

/// Flags over the manifest over the defaults.
fn plan(args: &Deploy, project: Option<&Project>, artifact: PathBuf) -> Result<Plan, Failure> {
    let manifest = project.map(|project| &project.manifest);
    let function = match (&args.name, manifest) {
        (Some(name), _) => super::access::parse_name(name, "name")?,
        (None, Some(manifest)) => manifest.name.clone(),
        (None, None) => {
            return Err(Failure::usage("The function's name is missing")
                .why("a file has no manifest that would name it")
                .help(format!("crowdcloud deploy {} --name NAME", args.target.display())));
        }
    };
    let mut limits = manifest.map(|manifest| manifest.limits).unwrap_or_default();
    args.limits.set(&mut limits);
    limits.check()?;
    let mut env = manifest.map(|manifest| manifest.env.clone()).unwrap_or_default();
    env.extend(args.env.iter().cloned());
    let mut egress = manifest.map(|manifest| manifest.egress.clone()).unwrap_or_default();
    egress.extend(args.egress.iter().cloned());
    let public = match (args.public, args.private) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => project.filter(|project| project.says_public).map(|project| project.manifest.public),
    };
    let version = CreateVersion {
        artifact: protocol::Digest::of(&[]),
        kind: args.kind.or(manifest.and_then(|manifest| manifest.kind)),
        lane: args.lane.or(manifest.map(|manifest| manifest.lane)).unwrap_or_default(),
        placement: args.placement.or(manifest.map(|manifest| manifest.placement)).unwrap_or_default(),
        egress,
        limits,
        env,
        alias: Some(super::access::parse_name(&args.alias, "alias")?),
        base: args.base.or(manifest.and_then(|manifest| manifest.base)),
        command: match &args.command {
            Some(line) => protocol::command_line::program(line)?,
            None => manifest.map(|manifest| manifest.command.clone()).unwrap_or_default(),
        },
        create: None,
    };
    Ok(Plan { function, public, artifact, version, example: manifest.and_then(|manifest| manifest.example.clone()) })
}

/// Says what would be done.
async fn dry_run(
    context: &Context,
    client: &Client,
    account: &Name,
    plan: &Plan,
    project: Option<&Project>,
) -> Result<(), Failure> {
    let exists = match client.get::<Function>(&path(plan.function.as_str())).await {
        Ok(_) => true,
        Err(failure) if failure.exit() == Exit::NotFound => false,
        Err(failure) => return Err(failure),
    };
    let build = project.and_then(|project| project.manifest.build.clone());
    let size = std::fs::metadata(&plan.artifact).ok().map(|metadata| ByteSize(metadata.len()));
    let value = serde_json::json!({
        "dry_run": true, "account": account, "function": plan.function, "create": !exists, "build": build,
        "artifact": plan.artifact, "size": size, "public": plan.public, "version": plan.version,
    });
    context.output.result(&value, || {
        let mut lines = Vec::new();
        lines.extend(build.map(|command| format!("would run `{command}`")));
        let size = size.map_or_else(|| "not built yet".to_owned(), |size| size.to_string());
        lines.push(format!("would upload {} ({size})", plan.artifact.display()));
        if !exists {
            let access = if plan.public == Some(true) { "public" } else { "private" };
            lines.push(format!("would make the {access} function {account}/{}", plan.function));
        }
        let alias = plan.version.alias.as_ref().map(ToString::to_string).unwrap_or_default();
        lines.push(format!("would make a version of {account}/{} and move {alias} to it", plan.function));
        lines.join("\n")
    })?;
    Ok(())
}

/// The function, where there is one: its access is changed where that was asked for.
async fn existing(client: &Client, plan: &Plan) -> Result<Option<Function>, Failure> {
    let at = path(plan.function.as_str());
    let function = match client.get::<Function>(&at).await {
        Ok(function) => function,
        Err(failure) if failure.exit() == Exit::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    match plan.public {
        Some(public) if public != function.public => client
            .change(Method::PATCH, &at, &ChangeFunction { public: Some(public), ..ChangeFunction::default() })
            .await
            .map(Some),
        _ => Ok(Some(function)),
    }
}

/// Streams the artifact into the store.
async fn upload(client: &Client, artifact: &Path, output: &Output) -> Result<Artifact, Failure> {
    let unreadable =
        |why| Failure::new(Exit::Usage, "no_file", format!("{} cannot be read", artifact.display())).why(why);
    let file = tokio::fs::File::open(artifact).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    let bar = output.bytes_bar("uploading", size);
    let counted = bar.clone();
    let stream = ReaderStream::with_capacity(file, 64 * 1024)
        .inspect(move |piece| counted.inc(piece.as_ref().map_or(0, |piece| piece.len() as u64)));
    let request = client
        .api(Method::POST, "/artifacts")?
        .timeout(UPLOAD_WITHIN)
        .header("content-type", "application/octet-stream")
        .header("content-length", size)
        .body(reqwest::Body::wrap_stream(stream));
    let artifact = client.read(request).await;
    bar.finish_and_clear();
    artifact
}

/// Makes the version and waits until it is ready.
async fn release(client: &Client, function: &Name, body: &CreateVersion, output: &Output) -> Result<Version, Failure> {
    let spinner = output.spinner("preparing");
    let at = format!("{}/versions", path(function.as_str()));
    let request = client.api(Method::POST, &at)?.timeout(READY_WITHIN).header("idempotency-key", idempotency_key());
    let mut version: Version = client.read(request.json(body)).await?;
    let deadline = Instant::now() + READY_WITHIN;
    // Before it waits: what it would wait for may be away for hours.
    if let Some(warning) = &version.warning {
        output.note(format!("warning: {warning}"));
    }
    if version.state == VersionState::Compiling {
        output.detail("no node has compiled it yet: waiting");
    }
    while version.state == VersionState::Compiling {
        if Instant::now() > deadline {
            return Err(Failure::new(Exit::Timeout, "not_ready", format!("v{} is still compiling", version.number))
                .why(version.warning.as_deref().unwrap_or("no node has taken it within three minutes"))
                .help(format!("crowdcloud nodes list; then crowdcloud versions show {function} v{}", version.number)));
        }
        tokio::time::sleep(POLL_EVERY).await;
        version = client.get(&format!("{at}/{}", version.number)).await?;
    }
    spinner.finish_and_clear();
    match (version.state, &version.problem) {
        (VersionState::Failed, Some(problem)) => Err(problem.clone().into()),
        (VersionState::Failed, None) => Err(protocol::Problem::from(Code::CompileFailed).into()),
        _ => Ok(version),
    }
}

/// A key that may call this function and nothing else: the kept one if it still works, else a new one.
async fn function_key(
    context: &Context,
    client: &Client,
    account: &Name,
    function: &Name,
) -> Result<Option<String>, Failure> {
    let id = format!("{account}/{function}");
    if let Some(kept) = context.function_key(&id) {
        let works = client.with(Credential::Key(kept.clone())).get::<protocol::api::Me>("/me").await;
        match works {
            Err(failure) if failure.exit() == Exit::Authentication && !failure.is(Code::Forbidden) => {
                context.keep_function_key(&id, None)?;
            }
            _ => return Ok(Some(kept)),
        }
    }
    let name = format!("curl for {function}");
    let made = super::access::create(client, name, vec![Scope::Invoke], Some(function.clone()), None).await;
    match made {
        Ok(key) => {
            if let Some(secret) = &key.secret {
                context.keep_function_key(&id, Some(secret))?;
            }
            Ok(key.secret)
        }
        Err(failure) if failure.is(Code::Forbidden) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn released(
    context: &Context,
    account: Name,
    plan: &Plan,
    function: &Function,
    version: &Version,
    key: Option<&str>,
) -> Released {
    let alias = plan.version.alias.clone().unwrap_or_else(|| plan.function.clone());
    let reference = if alias.as_str() == protocol::Reference::LIVE { String::new() } else { format!("@{alias}") };
    let url = format!("{}/f/{account}/{}{reference}", context.url, plan.function);
    let key = if function.public { None } else { Some(key.unwrap_or("cck_...")) };
    let curl = Curl { url: &url, key, ca_file: context.ca_file(), example: plan.example.as_ref() }.command();
    let scheme = context.url.split("://").next().unwrap_or("http");
    Released {
        function: plan.function.clone(),
        account,
        version: version.number,
        alias,
        browser_url: format!("{scheme}://{}/", function.host),
        url,
        curl,
        artifact: version.artifact.to_string(),
        warning: version.warning.clone(),
        found: Found {
            kind: version.kind,
            format: version.format.clone(),
            lane: version.runs_in,
            lane_reason: version.lane_reason,
            notes: version.notes.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn planned(command: &str) -> Result<Plan, Failure> {
        let line = ["crowdcloud", "deploy", "files.tar", "--name", "files", "--command", command];
        let Command::Deploy(args) = Cli::try_parse_from(line).unwrap().command else { panic!("not a deploy") };
        plan(&args, None, PathBuf::from("files.tar"))
    }

    #[test]
    fn f10_the_command_s_words_are_a_shell_s() {
        let words = planned("/bin/sh -c \"echo hello world\"").ok().unwrap().version.command;
        assert_eq!(words, ["/bin/sh", "-c", "echo hello world"]);
        for line in ["/bin/sh -c \"echo", "", "  ", "''"] {
            let refused = planned(line).err().unwrap();
            assert_eq!((refused.exit(), refused.field().unwrap().as_str()), (Exit::Usage, "command"), "{line:?}");
        }
    }
}
