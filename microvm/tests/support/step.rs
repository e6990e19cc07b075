//! Steps of one test: what they share takes longer to make than most of them do. Each has its name in what is said when it
//! fails.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// Functions of what they share, one after the other.
macro_rules! steps {
    ($shared:expr; $($step:path),* $(,)?) => {
        $(step::run(stringify!($step), Box::pin($step($shared))).await;)*
    };
}
pub(crate) use steps;

/// Runs a step to its end.
pub(crate) async fn run(name: &str, step: impl Future<Output = ()>) {
    eprintln!("step {name}");
    if let Err(panic) = AssertUnwindSafe(step).catch_unwind().await {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let why = text.or_else(|| panic.downcast_ref::<&'static str>().copied());
        panic!("step {name}: {}", why.unwrap_or("it panicked"));
    }
}
