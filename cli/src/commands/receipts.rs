//! Receipts: an account's settled runs as the platform keeps them, downloaded and checked line by line.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use books::download::{Period, Reader, Report};
use futures::StreamExt as _;
use protocol::{ByteSize, headers};
use reqwest::{Method, Response};
use serde_json::json;

use super::usage::{cpu_time, memory_time};
use crate::args::{self, Receipts};
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{fields, micros, unwritten};

/// `receipts`
pub(crate) async fn receipts(context: &Context, verb: Receipts) -> Result<(), Failure> {
    let Receipts::Download { period, output } = verb;
    download(context, period, &output).await
}

async fn download(context: &Context, asked: args::Period, file: &Path) -> Result<(), Failure> {
    let client = context.client()?;
    // However long it takes: it is as long as the history.
    let request = client.request(Method::GET, &super::queried("/api/v1/receipts", &asked.query()))?;
    let response = client.send(request).await?;
    let announced = response.headers().get(headers::BLOCKS).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let part = part_of(file);
    let spinner = context.output.spinner("downloading");
    let period = Period { from: asked.from, to: asked.to };
    let report = save(&client, response, &part, period).await;
    spinner.finish_and_clear();
    let report = report?;
    let came = report.numbers.map_or_else(|| "none".to_owned(), |(first, last)| format!("{first}-{last}"));
    if announced.is_some_and(|announced| announced != came) {
        return Err(Failure::new(Exit::Platform, "download_cut", "The download broke off")
            .why(format!("{} has what came", part.display()))
            .help("run the command again"));
    }
    std::fs::rename(&part, file).map_err(|error| unwritten(&file.display().to_string(), error))?;
    context.output.result(&as_json(&report, file), || show(&report, file))?;
    if report.gone > 0 {
        let note = format!("{} blocks are no longer kept: their runs are missing here", report.gone);
        context.output.note(note);
    }
    match report.faults.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(Exit::Platform, "damaged", "The history is damaged")
            .why(format!("{first}; {} faults in all", report.faults_count))
            .help(format!("tell the operator; what can be read is in {}", file.display()))),
    }
}

/// Where it is until it is whole.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Writes what comes into a file, and checks it.
async fn save(client: &Client, response: Response, path: &Path, period: Period) -> Result<Report, Failure> {
    let unwritten = |error| unwritten(&path.display().to_string(), error);
    let mut file = BufWriter::new(File::create(path).map_err(unwritten)?);
    let mut reader = Reader::new(period);
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| client.lost(&error))?;
        file.write_all(&piece).map_err(unwritten)?;
        reader.feed(&piece, drop);
    }
    file.flush().map_err(unwritten)?;
    Ok(reader.end())
}

fn as_json(report: &Report, file: &Path) -> serde_json::Value {
    let (first, last) = report.numbers.unzip();
    json!({
        "file": file,
        "blocks": report.blocks,
        "first": first,
        "last": last,
        "gone": report.gone,
        "corrected": report.corrected,
        "whole": report.is_whole(),
        "totals": report.totals,
        "faults": report.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "faults_count": report.faults_count,
    })
}

/// What it has, and the sums of the period's runs, which are those of `usage`.
fn show(report: &Report, file: &Path) -> String {
    let totals = &report.totals;
    let numbers = report.numbers.map(|(first, last)| format!(" ({first} to {last})")).unwrap_or_default();
    let bytes = |bytes: u64| ByteSize(bytes).to_string();
    fields(&[
        ("file", file.display().to_string()),
        ("blocks", format!("{}{numbers}", report.blocks)),
        ("runs", totals.runs.to_string()),
        ("failed", totals.failed.to_string()),
        ("timed out", totals.timed_out.to_string()),
        ("cancelled", totals.cancelled.to_string()),
        ("platform", totals.platform_failed.to_string()),
        ("flagged", totals.flagged.to_string()),
        ("wall", micros(totals.wall_us)),
        ("cpu", cpu_time(totals.cpu_us)),
        ("reserved cpu", cpu_time(totals.reserved_cpu_us)),
        ("memory", memory_time(totals.memory_kib_ms)),
        ("reserved memory", memory_time(totals.reserved_memory_kib_ms)),
        ("in", bytes(totals.bytes_in)),
        ("out", bytes(totals.bytes_out)),
        ("egress", bytes(totals.egress_bytes)),
    ])
}
