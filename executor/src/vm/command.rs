//! The command contract: the request's body is stdin, the head is in the environment, stdout is the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use microvm::{Ended, GuestStream, Run};
use protocol::node::LogStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use wasm_host::{Meter, Pipe};
use wasmtime_wasi_http::WasiBody;

use super::egress;
use super::start::apart;
use super::verdict;
use super::version::Version;
use crate::run::{Head, Record, RunLogBook, Started, Verdict, cgi};

const PIECE_BYTES: usize = 64 << 10;

pub(super) fn start(version: &Arc<Version>, request: http::Request<WasiBody>, record: &Arc<Record>) -> Started {
    let pipe = Pipe::default();
    // A command's response is its stdout, even where that is empty.
    record.answer();
    let output = Output { pipe: pipe.clone(), written: Arc::new(Notify::new()) };
    let written = Arc::clone(&output.written);
    let mut story = apart(story(Arc::clone(version), request, output, Arc::clone(record)));
    let guest = async move {
        // Whoever drives this looks at the output each time that it is polled.
        while tokio::select! { () = &mut story => false, () = written.notified() => true } {}
    };
    Started::new(guest, Head::Command(Some(pipe)))
}

/// Where a program's output goes, and who is told.
struct Output {
    pipe: Pipe,
    written: Arc<Notify>,
}

async fn story(version: Arc<Version>, request: http::Request<WasiBody>, output: Output, record: Arc<Record>) {
    // The verdict comes before the end of the output.
    let _end = output.pipe.end_on_drop();
    let (head, body) = request.into_parts();
    let run = tokio::select! {
        run = begin(&version, &head, &record) => run,
        () = record.stop.cancelled() => return,
    };
    let run = match run {
        Ok(run) => run,
        Err(error) => return record.conclude(Verdict::node_failed(error.to_string())),
    };
    let ended = talk(run, body, &output, &record).await;
    verdict::account(ended.usage.as_ref(), 0, &record);
    record.conclude(verdict::of(&ended, &version.about.ports, &record));
    version.refill();
}

async fn begin(
    version: &Arc<Version>,
    head: &http::request::Parts,
    record: &Arc<Record>,
) -> Result<Run, microvm::Error> {
    let machine = version.machine().await?;
    let mut workload = version.workload.clone();
    let own = workload.env.iter().filter_map(|pair| pair.split_once('='));
    let own: Vec<_> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let env = cgi::environment(head, own).into_iter();
    workload.env = env.map(|(name, value)| format!("{name}={value}")).collect();
    let mut run = machine.start(workload, left(record)).await?;
    egress::open(&mut run, &version.about.egress, &Meter::of(record));
    Ok(run)
}

/// Until the run's deadline.
pub(super) fn left(record: &Record) -> Duration {
    record.deadline.saturating_duration_since(Instant::now())
}

/// Feeds and drains the program until it has ended.
async fn talk(mut run: Run, body: WasiBody, output: &Output, record: &Record) -> Ended {
    // Where the run is stopped, its program is gone before this is: closed, it would be the end of a whole body.
    let mut stdin = None;
    if let Some(stdio) = run.stdio.take() {
        let (reader, writer) = tokio::io::split(stdio);
        let writer = stdin.insert(writer);
        let heard =
            async { tokio::join!(drain(reader, output), keep(&mut run.stderr, &record.log, LogStream::Stderr)) };
        let fed = async {
            feed(writer, body).await;
            std::future::pending::<()>().await;
        };
        let said_all = tokio::select! {
            _ = heard => true,
            () = fed => false,
            () = record.stop.cancelled() => false,
        };
        if said_all {
            drop(stdin.take());
        }
    }
    let ended = tokio::select! {
        ended = run.ended() => Some(ended),
        () = record.stop.cancelled() => None,
    };
    match ended {
        Some(ended) => ended,
        None => {
            let host_cpu = run.host_cpu();
            run.stop().await;
            let ended = run.ended().await;
            verdict::guess(&ended, host_cpu, record);
            ended
        }
    }
}

/// The request's body to stdin. A program need not read it. One that breaks off has no end; its run is stopped.
async fn feed(writer: &mut WriteHalf<GuestStream>, mut body: WasiBody) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        if writer.write_all(&data).await.is_err() {
            return;
        }
    }
    // It has gone already where that fails.
    drop(writer.shutdown().await);
}

/// Stdout to the answer, as fast as that is read.
async fn drain(mut reader: ReadHalf<GuestStream>, output: &Output) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = reader.read(&mut piece).await {
        if !output.pipe.put(Bytes::copy_from_slice(&piece[..read])).await {
            return;
        }
        output.written.notify_one();
    }
}

/// A stream into the run's log.
pub(super) async fn keep(stream: &mut GuestStream, log: &RunLogBook, name: LogStream) {
    let mut piece = vec![0; 8 << 10];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        log.write(name, &piece[..read]);
    }
}
