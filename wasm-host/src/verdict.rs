//! How a run ended: from what the engine reports to an outcome and a code of the catalogue.

use protocol::Code;
use protocol::receipt::Outcome;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use crate::record::Record;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub code: Option<Code>,
    pub detail: String,
}

impl Verdict {
    pub fn succeeded() -> Self {
        Self { outcome: Outcome::Succeeded, code: None, detail: String::new() }
    }

    pub fn cancelled() -> Self {
        Self { outcome: Outcome::Cancelled, code: None, detail: "the caller went away".to_owned() }
    }

    /// The caller has not sent all of its request.
    pub fn incomplete(why: &dyn std::fmt::Display) -> Self {
        let detail = format!("the request's body broke off: {why}");
        Self { outcome: Outcome::Cancelled, code: Some(Code::BodyIncomplete), detail }
    }

    /// The function's fault.
    pub fn failed(code: Code, detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, code: Some(code), detail: detail.into() }
    }

    /// The node's fault.
    pub fn node_failed(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::PlatformFailed, code: Some(Code::NodeFailed), detail: detail.into() }
    }

    /// The node's owner needs the machine.
    pub fn given_back(why: &dyn std::fmt::Display) -> Self {
        let detail = format!("the run was given back: the node is {why}");
        Self { outcome: Outcome::PlatformFailed, code: Some(Code::NodePaused), detail }
    }

    /// All that worked on the run went away before it ended: only a bug of ours does that.
    pub fn abandoned() -> Self {
        Self::node_failed("the run was abandoned")
    }

    /// As the run's log says it, where it failed.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        self.code.map(|code| format!("{code}: {}", self.detail))
    }

    /// What the end of a guest means.
    pub fn of(result: Result<(), wasmtime::Error>, record: &Record) -> Self {
        match result {
            Ok(()) if record.has_answered() => Self::succeeded(),
            Ok(()) => Self::failed(Code::NoResponse, "the handler returned without setting a response"),
            Err(error) => Self::of_error(&error, record),
        }
    }

    fn of_error(error: &wasmtime::Error, record: &Record) -> Self {
        if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
            return match status {
                0 if record.has_answered() => Self::succeeded(),
                0 => Self::failed(Code::NoResponse, "the function exited without setting a response"),
                status => Self::failed(Code::FunctionExit, format!("exit status {status}")),
            };
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::node_failed("the node's pool of instances is used up");
        }
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::StackOverflow) {
            return Self::failed(Code::StackOverflow, "the call stack is exhausted");
        }
        if record.memory_was_refused() {
            let detail = format!("the function asked for more than {}", record.limits.memory);
            return Self::failed(Code::OutOfMemory, detail);
        }
        match trap {
            Some(trap) => Self::failed(Code::Trap, trap.to_string()),
            None => Self::failed(Code::Trap, chain(error)),
        }
    }
}

/// An error and its causes on one line; the first cause alone where all is too long, as with a deep stack.
fn chain(error: &wasmtime::Error) -> String {
    let mut text = format!("{error:#}").replace('\n', " ");
    if text.len() > 500 {
        text = error.root_cause().to_string().replace('\n', " ");
    }
    if text.len() > 500 {
        let cut = (0..=500).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}
