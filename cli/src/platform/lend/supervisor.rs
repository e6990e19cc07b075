//! The process that holds a node's keys. It starts the one that works, confined, signs for it what a node has to sign, and
//! starts it again when it ends. It reads nothing that a guest has written.
//!
//! ```text
//!   start --> works --ends--> pause, doubled while it ends young --> start
//!                |--is refused by the platform----> end, with the reason (what may pass: `suspended`)
//!                |--says that its JWT has ended---> renewal
//!                |--SIGINT, SIGTERM, renewal------> SIGTERM, and SIGKILL where that does not do
//!                '--the VM lane's parts have come-> the same, and start
//! ```

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use protocol::Problem;
use protocol::node::Admission;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::codec::{Framed, LinesCodec};
use tokio_util::sync::CancellationToken;

use super::boot_clock::Alarm;
use super::channel::{Heard, LINE_BYTES_MAX, Signer, Start};
use super::reach::Way;
use super::spawn::{Place, Spawned};
use crate::failure::{Exit, Failure};
use crate::output::say;
use crate::visible;

/// The connection, and what the platform makes of the node, which it says elsewhere.
const CONNECTED: [&str; 2] = [
    "connected",
    "a new node is calibrating until its first checks are answered, and online then: crowdcloud nodes list",
];
/// Between the end of a worker and the next start; doubled while they end young.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A worker that lived for so long did not end young.
const YOUNG: Duration = Duration::from_secs(60);
/// Beyond its grace, for its last receipts.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Parts of the VM lane that are missing are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A worker's log: lines longer than that are broken, and more than so many in so long are left out.
const LOG_LINE_BYTES_MAX: u64 = 8 << 10;
const LOG_LINES_MAX: u32 = 1000;
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// How a worker ended.
enum Ended {
    Refused(Box<Problem>),
    /// Its JWT has ended.
    Expired,
    Otherwise(std::io::Result<ExitStatus>),
}

/// Works until it is stopped, until the platform refuses the node, or until the JWT is to be renewed. `is_taken` is told when
/// the platform takes it.
pub(super) async fn supervise(
    place: &Place,
    signer: &Signer<'_>,
    (admission, renewal): (&Admission, Alarm),
    (way, is_taken): (&Way, &Notify),
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut forwarded = Forwarded::new()?;
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        let mut worker = tokio::select! {
            worker = Worker::start(place, signer, admission, way) => worker?,
            () = stop.cancelled() => return Ok(()),
            () = renewal.rung() => return Ok(()),
        };
        let lacks_vm_parts = worker.lacks_vm_parts;
        let ended = tokio::select! {
            ended = worker.ended(place, signer, (&mut forwarded, is_taken)) => ended,
            () = stop.cancelled() => return worker.stop(place, signer, &mut forwarded).await,
            () = renewal.rung() => return worker.stop(place, signer, &mut forwarded).await,
            () = place.vm_parts_come(LOOK_EVERY), if lacks_vm_parts => {
                worker.stop(place, signer, &mut forwarded).await?;
                continue;
            }
        };
        let is_expired = matches!(ended, Ended::Expired);
        match ended {
            Ended::Refused(problem) => return Err((*problem).into()),
            Ended::Expired => tracing::warn!("the platform's clock says that the JWT has ended; it is renewed"),
            Ended::Otherwise(Ok(status)) => tracing::warn!(%status, "the worker has ended, and is started again"),
            Ended::Otherwise(Err(error)) => tracing::warn!(%error, "the worker is lost, and is started again"),
        }
        pause = match begun.elapsed() > YOUNG {
            true => PAUSE_MIN,
            // A stranger whose hands it is in could say so all the time.
            false if is_expired => PAUSE_MAX,
            false => (pause * 2).min(PAUSE_MAX),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {
                if is_expired {
                    return Ok(());
                }
            }
            () = stop.cancelled() => return Ok(()),
            () = renewal.rung() => return Ok(()),
        }
    }
}

/// A worker. Dropped, it is killed.
struct Worker {
    process: tokio::process::Child,
    pid: Option<Pid>,
    lines: Framed<UnixStream, LinesCodec>,
    heard: Heard,
    lacks_vm_parts: bool,
    _held: Vec<std::fs::File>,
}

impl Worker {
    /// Starts one. This thread must live as long as the worker, which dies with it.
    async fn start(place: &Place, signer: &Signer<'_>, admission: &Admission, way: &Way) -> Result<Self, Failure> {
        let spawned = place.spawn(signer.keys, signer.node, way).await?;
        let Spawned { mut process, socket, way, told, lacks_vm_parts, held } = spawned;
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Platform, "worker", "What works for the platform cannot be started").why(why)
        };
        let pid = process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(pass_on(stderr, say));
        }
        let mut lines = Framed::new(socket, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        let start =
            Start { way, jwt: admission.jwt.clone(), expires: admission.expires, told, code: signer.keys.code() };
        let line = serde_json::to_string(&start).map_err(|why| failed(&why))?;
        // One that has ended already is waited for like any other.
        drop(lines.send(line).await);
        Ok(Self { process, pid, lines, heard: Heard::default(), lacks_vm_parts, _held: held })
    }

    /// Answers it until it ends.
    async fn ended(
        &mut self,
        place: &Place,
        signer: &Signer<'_>,
        (forwarded, is_taken): (&mut Forwarded, &Notify),
    ) -> Ended {
        let mut asks = true;
        loop {
            tokio::select! {
                line = self.lines.next(), if asks => match line {
                    Some(Ok(line)) => {
                        let was_ready = self.heard.is_ready;
                        let answer = self.heard.reply(&line, signer, || place.cpu_ticks());
                        let answer = serde_json::to_string(&answer).unwrap_or_default();
                        asks = self.lines.send(answer).await.is_ok();
                        if self.heard.is_ready && !was_ready {
                            CONNECTED.into_iter().for_each(say);
                            is_taken.notify_one();
                        }
                    }
                    Some(Err(_)) | None => asks = false,
                },
                signal = forwarded.next() => {
                    // Before it is ready, it would end of it.
                    if self.heard.is_ready {
                        self.signal(signal);
                    }
                }
                status = self.process.wait() => {
                    return match self.heard.refused.take() {
                        Some(problem) => Ended::Refused(problem),
                        None if self.heard.is_expired => Ended::Expired,
                        None => Ended::Otherwise(status),
                    };
                }
            }
        }
    }

    /// Lets it finish what it has, and waits until it has gone.
    async fn stop(mut self, place: &Place, signer: &Signer<'_>, forwarded: &mut Forwarded) -> Result<(), Failure> {
        self.signal(Signal::TERM);
        let within = place.grace().saturating_add(STOP_WITHIN);
        match tokio::time::timeout(within, self.ended(place, signer, (forwarded, &Notify::new()))).await {
            Ok(Ended::Refused(problem)) => Err((*problem).into()),
            Ok(Ended::Expired | Ended::Otherwise(_)) => Ok(()),
            Err(_) => {
                tracing::warn!("the worker does not end, and is killed");
                self.process.kill().await?;
                Ok(())
            }
        }
    }

    fn signal(&self, which: Signal) {
        if let Some(pid) = self.pid
            && let Err(error) = kill_process(pid, which)
        {
            tracing::debug!(%error, "the worker has gone");
        }
    }
}

/// Signals that are the node's.
struct Forwarded {
    pause: Signals,
    resume: Signals,
}

impl Forwarded {
    fn new() -> Result<Self, Failure> {
        Ok(Self { pause: signal(SignalKind::user_defined1())?, resume: signal(SignalKind::user_defined2())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.pause.recv() => Signal::USR1,
            _ = self.resume.recv() => Signal::USR2,
        }
    }
}

/// Passes the worker's log on, which may be anything: it has no terminal of its own to write to.
async fn pass_on(log: impl AsyncRead + Unpin, mut say: impl FnMut(&str)) {
    let (mut log, mut line) = (BufReader::new(log), Vec::new());
    let (mut since, mut count) = (Instant::now(), 0_u32);
    loop {
        line.clear();
        let read = (&mut log).take(LOG_LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        let Ok(1..) = read else { return };
        if since.elapsed() > LOG_WINDOW {
            (since, count) = (Instant::now(), 0);
        }
        count = count.saturating_add(1);
        if count <= LOG_LINES_MAX {
            let text = String::from_utf8_lossy(&line);
            say(&visible::line(text.trim_end_matches(['\n', '\r'])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_goes_on_after_a_line_that_is_long_or_no_text() {
        let mut log = b"first\n".to_vec();
        log.extend(vec![b'x'; 3 << 13]);
        log.extend(b"\n\xff\xfe\nlast");
        let mut said = Vec::new();
        pass_on(log.as_slice(), |line| said.push(line.to_owned())).await;
        assert_eq!((said.first().unwrap().as_str(), said.last().unwrap().as_str()), ("first", "last"));
        assert!(said.iter().all(|line| line.len() <= 1 << 13));
        assert_eq!(said.iter().filter(|line| line.starts_with('x')).map(String::len).sum::<usize>(), 3 << 13);
    }
}
