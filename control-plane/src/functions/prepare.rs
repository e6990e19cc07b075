//! Prepare: a fit node fetches, checks and compiles a new version's artifact, so that the first run is warm
//! and bad input is refused at the deploy.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use fabric::shares::Held;
use fabric::{CallOptions, NodeEndpoint, Target};
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use protocol::api::VersionState;
use protocol::node::Prepared;
use protocol::placement::lane_of;
use protocol::{AccountId, Code, Field, Kind, Lane, LaneChoice, NodeId, Problem, Timestamp, VersionId, headers};
use sea_orm::EntityTrait as _;
use tokio_util::sync::CancellationToken;

use super::{fields, versions};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities;
use crate::error::Result;
use crate::nodes::Wanted;

const ANSWER_SIZE_MAX: usize = 64 * 1024;
/// Notes of a version that are kept, and their length.
const NOTES_MAX: usize = 16;
const NOTE_CHARS_MAX: usize = 500;
const ACCEPT_WITHIN: Duration = Duration::from_secs(2);
/// Answers that blame the node; after so many the version has failed.
const NODE_FAILURES_MAX: u32 = 5;

/// Rows that one look for forgotten versions takes up; the next look goes on behind them.
const RETRIED_AT_ONCE: u64 = 64;

/// What is being prepared by this process: no more than may wait, see `finite`.
#[derive(Default)]
pub(crate) struct Prepares {
    running: Mutex<HashSet<VersionId>>,
    /// Of versions that nodes have failed to prepare, until it is known what becomes of them.
    failures: Mutex<HashMap<VersionId, u32>>,
}

impl Prepares {
    fn enter(&self, id: VersionId) -> bool {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id)
    }

    fn leave(&self, id: VersionId) {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
    }

    /// What becomes of it is known.
    fn forget(&self, id: VersionId) {
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
    }

    /// Counts a failure that is the node's; true when there were too many.
    fn give_up(&self, id: VersionId) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = failures.entry(id).or_insert(0);
        *count += 1;
        let over = *count >= NODE_FAILURES_MAX;
        if over {
            failures.remove(&id);
        }
        over
    }
}

/// Prepares a version, unless that is going on. Not bound to the asker's request: it goes on when they leave.
///
/// `_place` is its place among the versions that are not ready.
pub(crate) async fn prepare(app: App, id: VersionId, account: AccountId, _place: Held<AccountId>) {
    if !app.prepares.enter(id) {
        return;
    }
    let done = attempt(&app, id, account).await;
    app.prepares.leave(id);
    if let Err(error) = done {
        tracing::error!(version = %id, %error, "prepare failed");
    }
}

async fn attempt(app: &App, id: VersionId, account: AccountId) -> Result<()> {
    // Too many wait: it is looked for again.
    let Ok(_turn) = app.bounds.prepares.take(account).await else { return Ok(()) };
    let row = entities::versions::Entity::find_by_id(Col(id)).one(app.db.read()).await?;
    let Some(row) = row.filter(|row| *row.state == VersionState::Compiling) else {
        app.prepares.forget(id);
        return Ok(());
    };
    let (account, placement) = (row.account_id.0, row.placement.0);
    let mut wanted = Wanted { account, placement, lane: first_lane(&row), limits: row.limits.0 };
    let mut tried = Vec::new();
    while let Some(node) = app.nodes.pick(app, &wanted, &tried).await? {
        match ask(app, &row, node, wanted.lane).await {
            Answer::Prepared(prepared) => {
                app.prepares.forget(id);
                return versions::finish(app, id, Ok(prepared)).await;
            }
            Answer::Refused(problem) if wanted.lane == Lane::Wasm && is_image(&row, &problem) => {
                // It is no WebAssembly: what else it is, the other lane knows.
                if let Err(missing) = super::capacity::find(app, &Wanted { lane: Lane::Vm, ..wanted }).await? {
                    let detail = format!("{}. {}", problem.detail.trim_end_matches('.'), missing.detail);
                    let problem = Problem::again(problem.code, problem.field, detail);
                    return versions::finish(app, id, Err(problem)).await;
                }
                wanted.lane = Lane::Vm;
                tried.clear();
            }
            Answer::Refused(problem) => {
                app.prepares.forget(id);
                return versions::finish(app, id, Err(problem)).await;
            }
            Answer::NodeFailed(problem) => {
                tracing::warn!(version = %id, %node, %problem, "prepare failed on node");
                if app.prepares.give_up(id) {
                    return versions::finish(app, id, Err(problem)).await;
                }
                tried.push(node);
            }
            Answer::Unreachable(error) => {
                tracing::info!(version = %id, %node, error, "node unreachable for prepare");
                tried.push(node);
            }
        }
    }
    Ok(())
}

/// The lane that a version is prepared for, as far as its fields say.
fn first_lane(row: &entities::versions::Model) -> Lane {
    let command = row.command.as_ref().map(|command| command.0.as_slice()).unwrap_or_default();
    let form = fields::form_asked(row.base.as_ref().map(|base| base.0), command);
    lane_of(row.lane.0, row.kind.as_ref().map_or(Kind::Http, |kind| kind.0), &row.limits, form).0
}

/// Whether the artifact may still be one of the VM lane.
fn is_image(row: &entities::versions::Model, problem: &Problem) -> bool {
    *row.lane == LaneChoice::Auto && problem.code == Code::NotWasm
}

enum Answer {
    Prepared(Prepared),
    Refused(Problem),
    NodeFailed(Problem),
    Unreachable(String),
}

async fn ask(app: &App, row: &entities::versions::Model, node: NodeId, lane: Lane) -> Answer {
    let Some(fabrics) = &app.fabrics else { return Answer::Unreachable("no fabric".to_owned()) };
    let deadline = app.config.prepare_time_max.duration();
    let ticket = app.tickets.prepare(row, node, lane, Timestamp::now(), deadline);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/prepare")
        .header(headers::TICKET, ticket.0)
        .header(header::CONTENT_LENGTH, 0)
        .body(fabric::empty());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::Unreachable(error.to_string()),
    };
    let options = CallOptions { deadline, accept_within: ACCEPT_WITHIN };
    let reply = match fabrics.nodes.call(Target::Node(node, NodeEndpoint::Control), request, options).await {
        Ok(reply) => reply,
        Err(error) => return Answer::Unreachable(error.to_string()),
    };
    let status = reply.response.status();
    match Limited::new(reply.response.into_body(), ANSWER_SIZE_MAX).collect().await {
        Ok(body) => read(status, &body.to_bytes()),
        Err(error) => Answer::Unreachable(error.to_string()),
    }
}

/// What a node's answer means.
fn read(status: http::StatusCode, body: &[u8]) -> Answer {
    if status.is_success() {
        return match protocol::wire::read::<Prepared>(body) {
            Ok(prepared) => {
                let notes = prepared.notes.into_iter().take(NOTES_MAX).map(clip_note).collect();
                Answer::Prepared(Prepared { format: clip(prepared.format), notes, ..prepared })
            }
            Err(error) => Answer::NodeFailed(Problem::new(Code::NodeFailed, format!("An unreadable answer: {error}."))),
        };
    }
    match serde_json::from_slice::<Problem>(body) {
        // Its own words stay, advice for this very case among them; the catalogue's come from here.
        Ok(problem) if is_verdict(problem.code) => {
            let field = blamed(problem.field.as_ref());
            let refused = Problem::of(problem.code, field, clip(problem.detail));
            Answer::Refused(if problem.help.is_empty() { refused } else { refused.with_help(clip(problem.help)) })
        }
        Ok(problem) => Answer::NodeFailed(Problem::new(Code::NodeFailed, clip(problem.to_string()))),
        Err(_) => Answer::NodeFailed(Problem::new(Code::NodeFailed, format!("The node answered {status}."))),
    }
}

/// What a node blames: one of the fields that it was given, or the artifact.
fn blamed(field: Option<&Field>) -> &'static str {
    let given = ["base", "command", "kind", "lane"];
    let named = given.into_iter().find(|given| field.is_some_and(|field| field.is_in(given)));
    named.unwrap_or(versions::ARTIFACT)
}

fn clip(text: String) -> String {
    one_line(&text, 2000)
}

fn clip_note(text: String) -> String {
    one_line(&text, NOTE_CHARS_MAX)
}

/// It goes to terminals: a node's word is one line of text.
fn one_line(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Codes that are about the artifact: they would be the same on any node.
fn is_verdict(code: Code) -> bool {
    matches!(
        code,
        Code::NotWasm
            | Code::InvalidWasm
            | Code::NoEntryPoint
            | Code::WrongWorld
            | Code::UnknownImport
            | Code::CompileFailed
            | Code::CompileLimit
            | Code::ArtifactTooLarge
            | Code::ImageInvalid
            | Code::ImageTooLarge
            | Code::WrongArchitecture
            | Code::InvalidField
    )
}

/// Tries versions that found no node again, also those of a process that died.
pub(crate) async fn retry(app: App, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(app.config.prepare_retry.duration());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // One account's versions that find no node must not hide others': each look goes on where the last one ended.
    let mut after = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match versions::compiling(app.db.read(), after, RETRIED_AT_ONCE).await {
            Ok(rows) => {
                let whole = u64::try_from(rows.len()).is_ok_and(|rows| rows == RETRIED_AT_ONCE);
                after = rows.last().filter(|_| whole).map(|(id, _)| *id);
                for (id, account) in rows {
                    if let Ok(place) = app.bounds.deploy(account) {
                        tokio::spawn(prepare(app.clone(), id, account, place));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "query of versions to prepare failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn verdicts() {
        let problem = |code| Problem::new(code, "why").to_json();
        let Answer::Refused(refused) = read(StatusCode::UNPROCESSABLE_ENTITY, &problem(Code::NotWasm)) else {
            panic!("a verdict");
        };
        assert_eq!(refused.field.unwrap().as_str(), "artifact");
        let of_base = Problem::of(Code::InvalidField, "base", "why").to_json();
        let Answer::Refused(refused) = read(StatusCode::UNPROCESSABLE_ENTITY, &of_base) else { panic!("a verdict") };
        assert_eq!(refused.field.unwrap().as_str(), "base");
        let advised = Problem::new(Code::NoEntryPoint, "why").with_help("Start\nsomething else.").to_json();
        let Answer::Refused(refused) = read(StatusCode::UNPROCESSABLE_ENTITY, &advised) else { panic!("a verdict") };
        assert_eq!(refused.help, "Start something else.");
        assert!(matches!(read(StatusCode::UNPROCESSABLE_ENTITY, &problem(Code::NotWasm)), Answer::Refused(_)));
        assert!(matches!(read(StatusCode::SERVICE_UNAVAILABLE, &problem(Code::Overloaded)), Answer::NodeFailed(_)));
        assert!(matches!(read(StatusCode::BAD_GATEWAY, b"?"), Answer::NodeFailed(_)));
        assert!(matches!(read(StatusCode::OK, b"{}"), Answer::NodeFailed(_)));
    }

    #[test]
    fn f14_a_nodes_notes_are_few_short_lines() {
        let prepared = Prepared {
            kind: Kind::Server,
            format: "OCI image".to_owned(),
            compile_ms: 1,
            code_size: protocol::ByteSize(1),
            form: protocol::ArtifactForm::Image,
            notes: std::iter::once("a\u{1b}[2J\nb".to_owned()).chain(vec!["x".repeat(4000); 40]).collect(),
        };
        let Answer::Prepared(read) = read(StatusCode::OK, &serde_json::to_vec(&prepared).unwrap()) else {
            panic!("an answer");
        };
        assert_eq!((read.notes.len(), read.notes[0].as_str(), read.notes[1].len()), (16, "a [2J b", 500));
    }

    #[test]
    fn gives_up() {
        let (prepares, id) = (Prepares::default(), VersionId::new());
        assert!((1..NODE_FAILURES_MAX).all(|_| !prepares.give_up(id)));
        assert!(prepares.give_up(id));
    }
}
