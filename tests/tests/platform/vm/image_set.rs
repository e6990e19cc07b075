//! The set of images, run as it is: what runs by `docker run`, with a request on its input or as a server on its port, runs
//! here, or its deploy says in a sentence why not. Each kind is run once; `CROWDCLOUD_ALL_IMAGES` says all of them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use protocol::command_line;
use serde_json::Value;
use tests::image_set::{self, Outcome, Recipe};
use tests::{Cli, EMBEDDED, Platform, wait_until};

use super::needs_vm_lane;
use crate::run_path::{plain, send};

/// Users who work side by side: while one's image is converted, a machine of the other's runs.
const USERS: [&str; 2] = ["ada", "grace"];

/// One image after the other, as long as there are any; those that went wrong, and how.
fn run_all(platform: &Platform, user: &Cli, account: &str, left: &Mutex<Vec<Recipe>>) -> Vec<String> {
    let (key, mut failures) = (user.token(), Vec::new());
    while let Some(recipe) = { left.lock().unwrap().pop() } {
        let started = Instant::now();
        let ran = run(platform, user, account, &key, &recipe);
        eprintln!("{}: {:.1} s", recipe.name, started.elapsed().as_secs_f32());
        if let Err(why) = ran {
            failures.push(format!("{}, which {}: {why}", recipe.name, recipe.shows));
        }
    }
    failures
}

/// Deploys an image, and calls it if it runs.
fn run(platform: &Platform, user: &Cli, account: &str, key: &str, recipe: &Recipe) -> Result<(), String> {
    let archive = recipe.archive(&|line| eprintln!("{line}")).map_err(|error| format!("{error:#}"))?;
    let flags: Vec<String> = recipe.flags().into_iter().map(str::to_owned).collect();
    let flags = command_line::line(&flags);
    let done = user.run(&format!("deploy {} --name {} {flags} --json", archive.display(), recipe.name));
    let (notes, calls, log) = match &recipe.outcome {
        Outcome::Runs { notes, calls, log } => (notes, calls, log),
        Outcome::Refused { code, because } => {
            let line = done.stderr.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
            let problem: Value = serde_json::from_str(line).unwrap_or_default();
            let says = problem["detail"].as_str().unwrap_or_default();
            let is_so = done.status == 2 && problem["code"] == *code && says.contains(because) && !says.contains('\n');
            return if is_so { Ok(()) } else { Err(format!("wanted {code}: {because}, got {done:?}")) };
        }
    };
    if done.status != 0 {
        return Err(done.stderr);
    }
    let deployed: Value = serde_json::from_str(&done.text()).map_err(|error| error.to_string())?;
    let said = deployed["notes"].to_string();
    if let Some(missing) = notes.iter().find(|note| !said.contains(*note)) {
        return Err(format!("its deploy does not say {missing:?}: {said}"));
    }
    for call in calls {
        let url = format!("{}/f/{account}/{}{}", platform.url, recipe.name, call.path);
        let answer = send(call.method, &url, Some(key), "", call.body.as_bytes());
        call.judge(answer.status, &plain(&answer))?;
        // Whatever a server speaks, the caller's connection is ours.
        if !answer.head.starts_with("HTTP/1.1 ") {
            return Err(answer.head);
        }
    }
    if !log.is_empty() {
        wait_until(&format!("{} has logged {log:?}", recipe.name), Duration::from_secs(20), || {
            user.ok(&format!("logs {}", recipe.name)).contains(log)
        });
    }
    Ok(())
}

#[test]
fn f05_to_f14_what_runs_under_docker_runs_here_or_its_deploy_says_why_not() {
    let platform = Platform::start_with(&EMBEDDED);
    let users = USERS.map(|account| (account, platform.user(account)));
    needs_vm_lane(&users[0].1);
    let set = match std::env::var_os("CROWDCLOUD_ALL_IMAGES") {
        Some(_) => image_set::all(),
        None => image_set::each_kind(),
    };
    let left = Mutex::new(set.into_iter().rev().collect());
    let failures: Vec<String> = std::thread::scope(|scope| {
        let (platform, left) = (&platform, &left);
        let workers: Vec<_> =
            users.iter().map(|(account, user)| scope.spawn(move || run_all(platform, user, account, left))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
