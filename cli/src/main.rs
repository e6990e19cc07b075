//! `crowdcloud`: the user's commands, and each service as a subcommand.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod args;
mod authorities;
mod client;
mod commands;
mod config;
mod context;
mod failure;
mod manifest;
mod output;
mod platform;
mod prompt;
mod target;
mod times;
mod visible;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Cli, Command};
use failure::{Exit, Failure};

/// Requests and frames are larger than what glibc keeps for each thread, and go through pools that all threads share: this
/// one takes less time for them, and gives back what a burst has used (EVALUATION.md, levers).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by the allocator before `main`: few pools, or each thread's keeps what it had in a burst, and pages that nobody uses
/// for a second are given back, also while nothing happens. See jemalloc(3), `TUNING`.
#[allow(unsafe_code, reason = "the allocator looks for this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 70] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true\0";

fn main() -> ExitCode {
    // Two providers come in through dependencies; rustls refuses to choose.
    drop(rustls::crypto::ring::default_provider().install_default());
    fabric::fault::arm();
    let typed = match Cli::command().try_get_matches() {
        Ok(typed) => typed,
        Err(error) => return usage(&error),
    };
    let cli = match Cli::from_arg_matches(&typed) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = output::Output::new(&cli.global);
    let result = match cli.command {
        Command::Up(args) => platform::up(&args, &cli.global),
        Command::Lend(args) if args.is_node() => platform::lend(*args, &cli.global),
        Command::Service(platform::ServiceCommand::CompileArtifact { .. }) => return executor::compile::child_main(),
        Command::Service(service) => platform::service(service, &cli.global),
        command => client_command(command, &cli.global),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let flag = failure.field().and_then(|field| args::flag::of_field(field, &typed));
            failure.show(output.json, output.color, flag.as_deref());
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// A command that talks to a platform, on one thread; Ctrl-C ends it.
fn client_command(command: Command, global: &args::Global) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = commands::run(command, global) => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::silent(Exit::Interrupted)),
        }
    });
    // A blocked read of standard input must not keep the program.
    runtime.shutdown_background();
    result
}

/// clap's own messages; as a problem where JSON is wanted.
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if !error.use_stderr() {
        // The last line has no end: it is still here.
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        let Err(error) = printed else { return ExitCode::SUCCESS };
        let failure = output::unwritten("Standard output", error);
        failure.show(json, false, None);
        return ExitCode::from(failure.exit() as u8);
    }
    if json {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (what, why) = text.split_once('\n').unwrap_or((text, ""));
        Failure::usage(what).why(why.trim()).help("crowdcloud --help").show(true, false, None);
    } else {
        drop(error.print());
    }
    ExitCode::from(Exit::Usage as u8)
}
