//! Points where a test can kill the process: after commits, publishes and acknowledgements, where a death is worst.
//!
//! `FAILPOINTS="spool.sent=1*off->1*return"` kills a process when it comes to the point `spool.sent` for the second
//! time; the language is that of the crate `fail`. Without the variable a point costs a look into an empty table. Where
//! `FAILPOINTS_ONCE` names a folder, each point kills once, however often the process is started again, and leaves a file
//! of its name there. A test that has many platforms in one process kills the task of one of them with [`die_at`].

use std::path::Path;

/// Arms what the environment names. Once, when the process starts.
pub fn arm() {
    if std::env::var_os("FAILPOINTS").is_some() {
        // The scenario lasts as long as the process.
        std::mem::forget(fail::FailScenario::setup());
    }
}

tokio::task_local! {
    /// The point at which this task dies.
    static DOOMED: &'static str;
}

/// Runs this, and panics where it comes to the point of this name itself, rather than in a task that it has spawned.
pub async fn die_at<F: Future>(name: &'static str, future: F) -> F::Output {
    DOOMED.scope(name, future).await
}

/// Ends the process here, without a word, where the environment asks for it; or the task, where [`die_at`] does.
pub fn point(name: &str) {
    assert!(!DOOMED.try_with(|doomed| *doomed == name).unwrap_or(false), "the task dies at {name}");
    fail::eval(name, |_| -> () {
        if is_due(name) {
            std::process::abort()
        }
    });
}

/// Whether no process has died here before, where each point may kill once.
fn is_due(name: &str) -> bool {
    let Some(folder) = std::env::var_os("FAILPOINTS_ONCE") else { return true };
    std::fs::File::create_new(Path::new(&folder).join(name)).is_ok()
}
