//! WebAssembly in a machine: an image of the runner and of code that this node compiled, served like a server.
//!
//! The runner is the wasm lane's own host code; it makes a fresh instance for each request, so that a machine is kept
//! from one run to the next, whatever the contract of the program is.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use images::{ImageConfig, User};
use microvm::{EGRESS_PORT, Egress, Workload};
use protocol::{Code, Digest, Kind, Limits, Problem};
use serde::{Deserialize, Serialize};
use wasm_host::machine::{ENDED, Orders, RunEnded};
use wasm_host::{Format, Host};
use wasmtime_wasi_http::WasiBody;

use super::ports::PORT;
use super::start;
use crate::egress::EgressRules;
use crate::wasm::engine::machines_engine;
use crate::wasm::inspect::inspect;

/// What every artifact of WebAssembly begins with.
const MAGIC: &[u8] = b"\0asm";
/// Where the runner is in a machine.
pub(super) const RUNNER: &str = "/usr/lib/crowdcloud/wasm-guest";
const CODE: &str = "/app/function.cwasm";
/// What the runner needs beside its guest.
const RUNNER_MEMORY_BYTES: u64 = 48 << 20;
/// What the runner says of a run is small.
const ENDED_BYTES_MAX: usize = 64 << 10;

/// What an image of WebAssembly was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hosted {
    /// What the artifact is.
    pub(super) format: Format,
    /// Another runner takes other code.
    pub(super) runner: Digest,
}

/// Whether these bytes are meant to be WebAssembly.
pub(crate) fn is_wasm(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Compiles an artifact for any machine, and packs it with the runner in one archive.
pub(super) fn pack(artifact: &[u8], runner: &[u8], archive: &Path) -> Result<Hosted, Problem> {
    let node = |error: std::io::Error| Problem::new(Code::NodeFailed, error.to_string());
    let wrong = |code: Code| move |error: wasmtime::Error| Problem::new(code, format!("{error:#}"));
    let format = inspect(artifact)?;
    let engine = machines_engine().map_err(wrong(Code::NodeFailed))?;
    let code = match format {
        Format::Module => engine.precompile_module(artifact),
        Format::HttpComponent | Format::CommandComponent => engine.precompile_component(artifact),
    }
    .map_err(wrong(Code::CompileFailed))?;
    // What the machine would find out too late: a function that an offered interface does not have.
    let host = Host::new(engine).map_err(wrong(Code::NodeFailed))?;
    // SAFETY: made just now.
    #[allow(unsafe_code, reason = "machine code of this node's own making")]
    let linked = unsafe { host.load(format, &code) };
    linked.map_err(wrong(Code::UnknownImport))?;

    let mut tar = tar::Builder::new(File::create(archive).map_err(node)?);
    for (path, bytes, mode) in [(RUNNER, runner, 0o755), (CODE, code.as_slice(), 0o444)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        header.set_mode(mode);
        // No field of a header may be left empty.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path.trim_start_matches('/'), bytes).map_err(node)?;
    }
    tar.into_inner().map_err(node)?;
    Ok(Hosted { format, runner: Digest::of(runner) })
}

/// What is started for the runs of a version. The environment is the function's alone.
pub(super) fn workload(
    image: &ImageConfig,
    format: Format,
    limits: &Limits,
    env: BTreeMap<String, String>,
    egress: &EgressRules,
) -> Result<Workload, Problem> {
    let proxy = (!egress.is_empty()).then_some(EGRESS_PORT);
    // The machine is kept for runs that have times and egress of their own, to which the node holds them.
    let Limits { timeout, egress_bytes, .. } = Limits::MAX;
    let of_machine = Limits { timeout, egress_bytes, ..*limits };
    let orders = Orders { format, code: CODE.to_owned(), port: PORT, limits: of_machine, proxy };
    let orders = serde_json::to_string(&orders).map_err(|error| Problem::new(Code::NodeFailed, error.to_string()))?;
    Ok(Workload {
        argv: vec![RUNNER.to_owned(), orders],
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        // The instance's own memory is bounded by its host.
        memory_bytes: Some(limits.memory.0.saturating_add(RUNNER_MEMORY_BYTES)),
        // It needs no right at all.
        uid: User::FUNCTION.uid,
        gid: User::FUNCTION.gid,
        groups: Vec::new(),
        // The guest must not see the lane.
        egress: if proxy.is_some() { Egress::UntoldProxy } else { Egress::None },
        ..start::workload(image, Kind::Server, limits, BTreeMap::new(), egress)
    })
}

/// Asks how the last run ended, and waits until it has; none where the runner does not say.
pub(super) async fn ended(sender: &mut SendRequest<WasiBody>) -> Option<RunEnded> {
    let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let question = http::Request::get("/").header(ENDED, "?").header(http::header::HOST, "localhost").body(body);
    sender.ready().await.ok()?;
    let answer = sender.send_request(question.ok()?).await.ok()?;
    let answer = http_body_util::Limited::new(answer.into_body(), ENDED_BYTES_MAX).collect().await.ok()?;
    serde_json::from_slice(&answer.to_bytes()).ok()
}
