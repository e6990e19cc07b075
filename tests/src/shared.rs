//! Steps of one test on one platform: to start a platform with its machines takes longer than most of them do. Each has
//! users of its own, runs whatever became of those before it, and has its name in what is said when it fails.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::Platform;

/// A step, and its name. It is given the platform, or what has it.
pub type Step<G = Platform> = (&'static str, fn(&G));

/// Functions as steps, by their names.
#[macro_export]
macro_rules! steps {
    ($($step:path),* $(,)?) => {
        [$((stringify!($step), $step as fn(&_))),*]
    };
}

/// Runs them one after the other.
///
/// # Panics
/// When one has failed: with the names of all that have, and why.
pub fn run_steps<G>(ground: &G, steps: &[Step<G>]) {
    let mut failures = Vec::new();
    for (name, step) in steps {
        eprintln!("step {name}");
        let started = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| step(ground))) {
            failures.push(format!("step {name}: {}", why(panic.as_ref())));
        }
        eprintln!("step {name}: {:.1} s", started.elapsed().as_secs_f32());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn why(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&'static str>().copied()).unwrap_or("it panicked")
}
