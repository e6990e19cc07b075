//! The work: beats of two seconds, each with its calls and commands, so that charts by minute have a course.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::people::Company;
use crate::say;

const BEAT: Duration = Duration::from_secs(2);
/// How often the calls of every beat are made, beat by beat.
const WAVE: [usize; 8] = [1, 2, 4, 6, 5, 3, 2, 1];
/// Somebody waits no longer for a call.
const CALL_WITHIN: Duration = Duration::from_secs(60);
/// In so many beats it is asked once whether there is a VM lane.
const LANE_EVERY: usize = 5;
/// The function in the VM lane.
const IN_VM: &str = "primes";
/// Anybody may call it, and does so without a key.
const PUBLIC: &str = "hello";

/// What is sent.
enum Sent {
    Nothing,
    Text(&'static str),
    /// The picture in the README.
    Picture,
    /// Nothing, and the caller leaves when the response begins.
    NothingAndLeaves,
}

/// A call, made in each beat by the wave, or once in so many beats.
struct Call {
    every: usize,
    function: &'static str,
    path: &'static str,
    sent: Sent,
}

const fn call(every: usize, function: &'static str, path: &'static str, sent: Sent) -> Call {
    Call { every, function, path, sent }
}

/// Calls of every outcome: successes in both lanes, errors of functions, traps, time-outs, callers who leave, addresses
/// without a function.
const CALLS: [Call; 13] = [
    call(1, PUBLIC, "/", Sent::Nothing),
    call(1, "shout", "/", Sent::Text("so that everybody hears it")),
    call(1, "markdown", "/", Sent::Text("# Orders\n\n| item | count |\n| --- | ---: |\n| cog | 12 |\n")),
    call(2, "thumbnail", "/?width=320", Sent::Picture),
    call(2, "probe", "/burn?ms=120&mib=24", Sent::Nothing),
    call(3, "probe", "/echo", Sent::Text("echo")),
    call(5, "probe", "/status/404", Sent::Nothing),
    call(6, "probe", "/status/500", Sent::Nothing),
    call(9, "probe", "/trap", Sent::Nothing),
    call(13, "probe", "/loop", Sent::Nothing),
    call(7, "probe", "/drip?n=50&ms=50&bytes=4000", Sent::NothingAndLeaves),
    call(8, "nothing-here", "/", Sent::Nothing),
    call(4, IN_VM, "/?below=100000", Sent::Nothing),
];

/// What the owner types in one of so many beats, the first time in this one: jobs of every end, an array, a later
/// response, jobs that are cancelled, tried again or wait, messages that become jobs, and messages that die.
const TYPED: [(usize, usize, &str); 13] = [
    (4, 0, "crowdcloud jobs submit markdown / -d '# Report' --label kind=report"),
    (6, 1, "crowdcloud jobs submit probe '/burn?ms=900&mib=48' --label kind=simulation"),
    (6, 2, "crowdcloud invoke markdown / -d '# Later' --async"),
    (9, 3, "crowdcloud jobs submit probe /trap --retries 2 --backoff 1s --label kind=broken"),
    (9, 4, "crowdcloud jobs submit probe /status/503 --label kind=fragile"),
    (14, 5, "crowdcloud jobs submit probe /loop --timeout 2s --label kind=endless"),
    (20, 6, "printf 'one\\ntwo\\nthree\\nfour\\n' | crowdcloud jobs submit shout / --each-line - --label batch=words"),
    (20, 7, "crowdcloud jobs submit markdown / -d '# Tonight' --not-before 2h --label when=tonight"),
    (15, 8, "crowdcloud jobs cancel $(crowdcloud jobs submit shout / --not-before 1h)"),
    (
        25,
        9,
        "crowdcloud jobs submit probe /status/500 >job; crowdcloud jobs wait $(cat job); crowdcloud jobs retry $(cat job)",
    ),
    (3, 0, "crowdcloud queues put orders '# Order 17'"),
    (6, 0, "crowdcloud queues put returns '{\"order\": 17}'"),
    (2, 1, "crowdcloud queues lease returns --count 5"),
];

/// Whether microVMs are there.
#[derive(PartialEq)]
enum Lane {
    Awaited,
    Ready,
    Missing,
}

/// Works for so long.
pub(crate) async fn go_on(company: &Company, lasts: Duration) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(CALL_WITHIN).build()?;
    let picture = tests::examples().join("../docs/portal.png");
    let picture = std::fs::read(&picture).with_context(|| picture.display().to_string())?;
    let mut lane = Lane::Awaited;
    let mut calls = JoinSet::new();
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + lasts;
    for beat in 0_usize.. {
        beats.tick().await;
        if Instant::now() >= until {
            break;
        }
        if lane == Lane::Awaited && beat % LANE_EVERY == 0 {
            lane = tokio::task::block_in_place(|| look_for_lane(company))?;
        }
        for call in CALLS.iter().filter(|call| call.function != IN_VM || lane == Lane::Ready) {
            for _ in 0..call.times(beat) {
                calls.spawn(call.send(company.request(&client, call, beat), &picture));
            }
        }
        for (_, _, line) in TYPED.iter().filter(|(every, first, _)| beat % every == first % every && beat >= *first) {
            tokio::task::block_in_place(|| typed(company, line));
        }
        // Those that have ended.
        while calls.try_join_next().is_some() {}
    }
    say("the last calls end");
    while calls.join_next().await.is_some() {}
    Ok(())
}

/// Deploys the function of the VM lane, once that is there.
fn look_for_lane(company: &Company) -> anyhow::Result<Lane> {
    let nodes = company.owner.json("nodes list");
    let lane = &nodes["items"][0]["vm"];
    match lane["state"].as_str() {
        Some("ready") => {}
        Some("missing") => {
            say(&format!("no function in a VM: {}", lane["why"]));
            return Ok(Lane::Missing);
        }
        _ => return Ok(Lane::Awaited),
    }
    let program = tests::examples().join(IN_VM).join("dist").join(IN_VM);
    let program = program.to_str().context("the examples' path is not UTF-8")?;
    typed(company, &format!("crowdcloud deploy {program} --name {IN_VM} --kind command --cpus 2 --memory 64MiB"));
    Ok(Lane::Ready)
}

/// A line that should go well; where it does not, the work goes on.
fn typed(company: &Company, line: &str) {
    let done = company.owner.shell(line);
    if done.status != 0 {
        say(&format!("`{line}` ended with {}: {}", done.status, done.stderr.trim_end()));
    }
}

impl Call {
    /// How often in this beat.
    fn times(&self, beat: usize) -> usize {
        match self.every {
            1 => WAVE[beat % WAVE.len()],
            every => usize::from(beat.is_multiple_of(every)),
        }
    }

    /// What becomes of it is for the platform to tell.
    fn send(&self, request: reqwest::RequestBuilder, picture: &[u8]) -> impl Future<Output = ()> + Send + use<> {
        let request = match self.sent {
            Sent::Nothing | Sent::NothingAndLeaves => request,
            Sent::Text(text) => request.body(text),
            Sent::Picture => request.body(picture.to_vec()),
        };
        let leaves = matches!(self.sent, Sent::NothingAndLeaves);
        async move {
            if let Ok(response) = request.send().await
                && !leaves
            {
                drop(response.bytes().await);
            }
        }
    }
}

impl Company {
    /// Owner and member take turns.
    fn request(&self, client: &reqwest::Client, call: &Call, beat: usize) -> reqwest::RequestBuilder {
        let url = format!("{}/f/{}/{}{}", self.url, self.name, call.function, call.path);
        let request =
            if matches!(call.sent, Sent::Text(_) | Sent::Picture) { client.post(url) } else { client.get(url) };
        if call.function == PUBLIC { request } else { request.bearer_auth(&self.keys[beat % self.keys.len()]) }
    }
}

#[cfg(test)]
mod lines {
    use super::TYPED;

    #[test]
    fn what_is_typed_calls_programs_of_the_table() {
        for (_, _, line) in TYPED {
            assert_eq!(tests::unknown_program(line), None, "{line}");
        }
    }
}
