//! Fills a platform with work that is really done: people, functions, calls of every outcome, jobs, queues, a schedule.
//! Then its portal has something to show, and pictures can be taken of it.

mod people;
mod pictures;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::Platform;
use tests::browser::PASSWORD;
use tokio::signal::unix::{SignalKind, signal};

use crate::people::Company;

/// How often it is looked whether the platform still runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Fills a platform with work, and leaves it running.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Args {
    /// A platform that runs already; without it one is started, on loopback, with data of its own
    #[arg(long)]
    url: Option<String>,
    /// The personal account to sign up
    #[arg(long, value_name = "NAME", default_value = "ada")]
    personal: String,
    /// The company's account to sign up
    #[arg(long, value_name = "NAME", default_value = "engines")]
    company: String,
    /// Work goes on for so long
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// Stop the platform at the end
    #[arg(long, conflicts_with = "url")]
    once: bool,
    /// Take pictures of the portal, into this folder
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "docs")]
    screenshots: Option<PathBuf>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut platform = None;
    let url = match &args.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => platform.insert(Platform::start()).url.clone(),
    };
    tokio::select! {
        filled = fill(args, &url) => filled?,
        end = stopped() => return end,
    }
    let Some(platform) = platform.filter(|_| !args.once) else { return Ok(()) };
    if let Some(link) = &platform.operator_link {
        println!("operator   {link}");
    }
    println!("Ctrl-C stops the platform; its data go with it.");
    let gone = async {
        while tests::alive(platform.pid()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = gone => Ok(()),
        end = stopped() => end,
    }
}

/// People, their functions, their work, and pictures of it.
async fn fill(args: &Args, url: &str) -> anyhow::Result<()> {
    say(&format!("signing up {} and {} at {url}", args.personal, args.company));
    let email = tokio::task::block_in_place(|| people::sign_up_personal(url, &args.personal));
    let company = tokio::task::block_in_place(|| Company::found(url, &args.company))?;
    say(&format!("{} s of work", args.seconds));
    work::go_on(&company, Duration::from_secs(args.seconds)).await?;
    if let Some(folder) = &args.screenshots {
        pictures::take(&company, folder).await?;
    }
    println!("portal     {url}/a/{}", company.name);
    println!("company    {}, a member {}", company.owner_email, company.member_email);
    println!("personal   {email}");
    println!("password   {PASSWORD}");
    Ok(())
}

/// Ctrl-C, or another's wish that this ends.
async fn stopped() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminated.recv() => Ok(()),
    }
}

/// One line of progress, on stderr.
fn say(line: &str) {
    eprintln!("[demo] {line}");
}
