//! Says what is being done and how long it took: a newcomer waits minutes, and wants to know for what.

use std::io::Write;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Steps so far, with their times.
#[derive(Debug)]
pub(crate) struct Steps {
    began: Instant,
    done: Vec<(String, Duration)>,
}

/// Shorter steps are not worth a line.
const WORTH_SAYING: Duration = Duration::from_millis(500);

impl Steps {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), done: Vec::new() }
    }

    /// Does one step. Its name is said at once, its time when it has taken long.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        say(name);
        let began = Instant::now();
        let result = work();
        let took = began.elapsed();
        if took >= WORTH_SAYING {
            say(&format!("{name}: {} after {}", if result.is_ok() { "done" } else { "failed" }, seconds(took)));
        }
        self.done.push((name.to_owned(), took));
        result
    }

    /// Runs a command as one step; it fails unless the command succeeds.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.run(name, || succeed(command))
    }

    /// Where the time went.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("where the time went:\n");
        for (name, took) in self.done.iter().filter(|(_, took)| *took >= WORTH_SAYING) {
            text.push_str(&format!("{:>9}  {name}\n", seconds(*took)));
        }
        text.push_str(&format!("{:>9}  together\n", seconds(self.began.elapsed())));
        text
    }
}

/// One line of progress, on stderr: stdout is for results.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "[xtask] {line}");
}

/// Runs a command with its output shown.
pub(crate) fn status(command: &mut Command) -> anyhow::Result<ExitStatus> {
    command.status().with_context(|| format!("{} cannot be run", command.get_program().display()))
}

/// Runs a command with its output shown; it must succeed.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command silently; it must succeed, and its last line says why it did not.
pub(crate) fn quiet(command: &mut Command) -> anyhow::Result<String> {
    let done = command.output().with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no output").to_owned();
        bail!("`{}` failed ({}): {last}", line(command), done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The command as somebody would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn seconds(time: Duration) -> String {
    if time.as_secs() >= 60 {
        format!("{} m {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    } else {
        format!("{:.1} s", time.as_secs_f32())
    }
}
