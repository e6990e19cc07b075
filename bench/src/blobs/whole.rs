//! What users feel of the store: a deploy as they type it, and a job whose input is uploaded first, on a whole platform.

use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use hyper::Response;
use protocol::api::Artifact;
use protocol::job::{Job, JobInput, SubmitJob};
use rand::RngCore as _;

use super::{Found, MIB};
use crate::figures::{Figure, quantile};
use crate::http::Connection;
use crate::platform::{FUNCTION, Parts, Platform};
use crate::{Options, say};

/// Of each kind, in a round.
const TIMES: usize = 10;
const NAME: &str = "deployed";

/// Measures it.
pub(super) async fn measure(parts: &Parts, options: &Options) -> anyhow::Result<Found> {
    let folder = tempfile::tempdir()?;
    say("starting the platform");
    let platform = Platform::start(parts, folder.path()).await?;
    platform.deploy()?;
    let key = platform.command(&["token"], "")?;
    let upload = platform.at("/api/v1/uploads").with_key(key.trim());
    let submit = platform.at("/api/v1/jobs").with_key(key.trim());
    let mut connection = Connection::open(upload.address).await?;
    let (mut deploys, mut uploads, mut submissions) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}: deploys and jobs", options.rounds));
        let (mut deployed, mut uploaded, mut submitted) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let (_, took) = platform.deploy_timed(&parts.component, NAME, &[])?;
            deployed.push(took.as_secs_f64() * 1e3);
            // Each input is another one: equal ones of an account are one artifact.
            let mut noise = vec![0; MIB];
            rand::rng().fill_bytes(&mut noise);
            let begun = Instant::now();
            let response = connection.send(&upload.clone().with_bytes(noise.into())).await?;
            let artifact: Artifact = read(&response)?;
            uploaded.push(begun.elapsed().as_secs_f64() * 1e3);
            let mut job = SubmitJob::of(FUNCTION);
            job.input = Some(JobInput::Upload(artifact.digest));
            let response = connection.send(&submit.clone().with_json(&job)?).await?;
            read::<Job>(&response)?;
            submitted.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        for (all, mut times) in [(&mut deploys, deployed), (&mut uploads, uploaded), (&mut submissions, submitted)] {
            times.sort_by(f64::total_cmp);
            all.push(quantile(&times, 50));
        }
    }
    platform.stop().await?;
    let figure = |of, rounds| Figure::new(of, "p50_ms", None, rounds);
    let figures = vec![
        figure("deploy of the smallest component", deploys),
        figure("upload of 1 MiB", uploads),
        figure("job with an input of 1 MiB, upload and submission", submissions),
    ];
    Ok(Found { figures, ..Found::default() })
}

fn read<T: serde::de::DeserializeOwned>(response: &Response<Bytes>) -> anyhow::Result<T> {
    let text = String::from_utf8_lossy(response.body());
    ensure!(response.status().is_success(), "{}: {text}", response.status());
    Ok(serde_json::from_slice(response.body())?)
}
