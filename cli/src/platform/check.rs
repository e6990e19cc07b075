//! `up --check`: start, sign up, deploy, call over HTTP, print the answer, stop.

use std::time::{Duration, Instant};

use protocol::api::{Artifact, CreateFunction, CreateVersion, Function, Key, Me, Signup, Version, VersionState};
use protocol::route::Scope;
use reqwest::Method;

use super::{Running, UpArgs, hello, parts, runtime};
use crate::args::Global;
use crate::authorities::Authorities;
use crate::client::{Client, Credential};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// How long the version may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs the check on a folder of its own, unless one is named.
pub(super) async fn run(args: &UpArgs, global: &Global) -> Result<(), Failure> {
    let output = Output::new(global);
    let stop = runtime::stop_on_signals()?;
    let temporary = std::env::temp_dir().join(format!("crowdcloud-check-{:016x}", rand::random::<u64>()));
    let mut args = args.clone();
    if args.data.is_none() && args.listen.is_none() {
        args.listen = Some(std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)));
    }
    let settings = parts::Settings::read(&args, Some(&temporary))?;
    let started = Instant::now();
    let result = match Running::start(settings).await {
        Err(failure) => Err(failure),
        Ok(running) => {
            let url = running.settings().url();
            output.note(format!("ready after {} ms at {url}", started.elapsed().as_millis()));
            let result = tokio::select! {
                result = deploy_and_call(&url, &output) => result,
                () = stop.cancelled() => Err(Failure::silent(Exit::Interrupted)),
            };
            running.stop().await;
            result
        }
    };
    if args.data.is_none() {
        drop(std::fs::remove_dir_all(&temporary));
    }
    let (answer, run) = result?;
    output.result(&serde_json::json!({ "answer": answer, "run": run }), || answer.clone())?;
    output.note("the platform works");
    Ok(())
}

/// The whole journey, as a new user makes it; returns the answer and the run's id.
async fn deploy_and_call(url: &str, output: &Output) -> Result<(String, String), Failure> {
    let unique = format!("{:08x}", rand::random::<u32>());
    let account = format!("check-{unique}");
    let signup = Signup {
        email: format!("{account}@example.com"),
        password: format!("{:032x}", rand::random::<u128>()),
        account: Some(account.clone()),
        kind: Some(protocol::api::AccountKind::Personal),
        invitation: None,
        operator_token: None,
        code: None,
    };
    let nobody = Client::new(url, Credential::None, &Authorities::default())?;
    let (_, session): (Me, Client) = crate::commands::start_session(&nobody, &signup).await?;
    let session = session.acting_for(&account);
    output.note(format!("signed up {account}"));
    let function: Function =
        session.post("/functions", &CreateFunction { name: "hello".into(), public: false }).await?;
    let upload = session.api(Method::POST, "/artifacts")?.body(hello::module());
    let artifact: Artifact = session.read(upload).await?;
    let version = CreateVersion {
        artifact: artifact.digest,
        kind: None,
        lane: protocol::LaneChoice::Auto,
        placement: protocol::PlacementClass::Any,
        egress: Vec::new(),
        limits: protocol::Limits::default(),
        env: std::collections::BTreeMap::new(),
        alias: None,
        base: None,
        command: Vec::new(),
        create: None,
    };
    let mut version: Version = session.post("/functions/hello/versions", &version).await?;
    let deadline = Instant::now() + READY_WITHIN;
    while version.state == VersionState::Compiling && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
        version = session.get(&format!("/functions/hello/versions/{}", version.number)).await?;
    }
    output.note(format!("deployed {} v{}", function.path, version.number));
    let key: Key = crate::commands::create_key(&session, "check", vec![Scope::Invoke], Some(function.name)).await?;
    let caller = nobody.with(Credential::Key(key.secret.unwrap_or_default()));
    let response = caller.send(caller.request(Method::GET, function.path.trim_end_matches('/'))?).await?;
    let run = response.headers().get(protocol::headers::RUN).and_then(|value| value.to_str().ok());
    let run = run.unwrap_or_default().to_owned();
    let answer = response.text().await.map_err(|error| caller.lost(&error))?;
    if answer != hello::GREETING {
        return Err(Failure::new(Exit::Platform, "check_failed", "The function answered something else")
            .why(format!("{answer:?} instead of {:?}", hello::GREETING)));
    }
    Ok((answer, run))
}
