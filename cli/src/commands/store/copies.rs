//! Copies, as the operator looks after them: disks and copies, the check of all bytes, and disks that are taken out.

use std::time::Duration;

use futures::StreamExt as _;
use protocol::api::{StoreCheckLine, StoreCopies, StoreFinding, StoreLook, StoreStatus};
use protocol::words;
use reqwest::Method;

use crate::args::Credentials;
use crate::client::{Client, segment};
use crate::commands::nodes::operator::Asking;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{fields, table, time};

/// How long a check may take.
const CHECK_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest line of a check that is read.
const LINE_MAX: usize = 1024 * 1024;

/// `store status`
pub(super) async fn status(context: &Context, credentials: Credentials) -> Result<(), Failure> {
    let asking = Asking::operator(context, credentials).await?;
    let status = asking.client.get::<StoreStatus>("/operator/store").await;
    let status = asking.end(status).await?;
    context.output.result(&status, || show(&status))
}

/// `store check`
pub(super) async fn check(context: &Context, credentials: Credentials) -> Result<(), Failure> {
    let asking = Asking::operator(context, credentials).await?;
    let checked = follow(context, &asking.client).await;
    asking.end(checked).await
}

/// `store drain`
pub(super) async fn drain(context: &Context, disk: &str, undo: bool, credentials: Credentials) -> Result<(), Failure> {
    let asking = Asking::operator(context, credentials).await?;
    let drained = tell(&asking.client, disk, undo).await;
    let status = asking.end(drained).await?;
    context.output.result(&status, || show(&status))?;
    if !undo {
        context.output.note("nothing new is put there; `crowdcloud store status` says when it may be taken out");
    }
    Ok(())
}

/// `store replace`
pub(super) async fn replace(context: &Context, disk: &str, credentials: Credentials) -> Result<(), Failure> {
    let path = format!("/operator/store/disks/{}/replace", segment(disk));
    change(context, credentials, Method::POST, &path, None).await
}

/// `store forget`
pub(super) async fn forget(context: &Context, disk: &str, credentials: Credentials) -> Result<(), Failure> {
    let path = format!("/operator/store/disks/{}", segment(disk));
    change(context, credentials, Method::DELETE, &path, None).await
}

/// `store copies`
pub(super) async fn set(context: &Context, copies: u32, credentials: Credentials) -> Result<(), Failure> {
    let asked = StoreCopies { copies };
    change(context, credentials, Method::PUT, "/operator/store/copies", Some(&asked)).await
}

/// Changes something, and shows what it is like then.
async fn change(
    context: &Context,
    credentials: Credentials,
    method: Method,
    path: &str,
    body: Option<&StoreCopies>,
) -> Result<(), Failure> {
    let asking = Asking::operator(context, credentials).await?;
    let changed = match asking.client.api(method, path) {
        Ok(request) => {
            let request = if let Some(body) = body { request.json(body) } else { request };
            asking.client.read(request).await
        }
        Err(failure) => Err(failure),
    };
    let status: StoreStatus = asking.end(changed).await?;
    context.output.result(&status, || show(&status))
}

async fn tell(client: &Client, disk: &str, undo: bool) -> Result<StoreStatus, Failure> {
    let method = if undo { Method::DELETE } else { Method::POST };
    client.read(client.api(method, &format!("/operator/store/disks/{}/drain", segment(disk)))?).await
}

/// Shows what is found as it is found; how far it is on a terminal alone.
async fn follow(context: &Context, client: &Client) -> Result<(), Failure> {
    let request = client.api(Method::POST, "/operator/store/check")?.timeout(CHECK_MAX);
    let mut pieces = client.send(request).await?.bytes_stream();
    let progress = context.output.spinner("checking");
    let mut text = Vec::new();
    while let Some(piece) = pieces.next().await {
        text.extend_from_slice(&piece.map_err(|error| client.lost(&error))?);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let Ok(line) = serde_json::from_slice::<StoreCheckLine>(&line) else { continue };
            progress.set_message(so_far(&line));
            if context.output.json {
                context.output.result(&line, String::new)?;
            } else if let Some(finding) = &line.finding {
                progress.suspend(|| context.output.text(found(finding)))?;
            }
            if line.done {
                progress.finish_and_clear();
                return ended(context, &line);
            }
        }
        if text.len() > LINE_MAX {
            break;
        }
    }
    progress.finish_and_clear();
    Err(Failure::new(Exit::Platform, "unexpected_answer", "The check broke off").help("begin it again"))
}

fn so_far(line: &StoreCheckLine) -> String {
    format!("{} of {}, {} read", line.blobs, words::count(line.of, "blob"), line.bytes)
}

/// Whether all is well is the exit status, too.
fn ended(context: &Context, line: &StoreCheckLine) -> Result<(), Failure> {
    let checked = format!("{} checked, {} read", words::count(line.blobs, "blob"), line.bytes);
    if line.left > 0 {
        let left = words::count(line.left, "blob");
        let failure = Failure::new(Exit::Platform, "store_damaged", format!("{left} with less than is wanted"));
        return Err(failure.why(checked).help("where a disk is away, bring it back and check again"));
    }
    let amount = match line.found {
        0 => "all copies are whole".to_owned(),
        found => format!("{} mended", words::count(found, "blob")),
    };
    if context.output.json { Ok(()) } else { context.output.text(format!("{checked}: {amount}")) }
}

/// A finding, in a line.
fn found(finding: &StoreFinding) -> String {
    let owner = match (&finding.account_name, finding.account) {
        (Some(name), _) => format!(" of {name}"),
        (None, Some(account)) => format!(" of {account}"),
        (None, None) => String::new(),
    };
    let what = if finding.owners.is_empty() { "unreferenced".to_owned() } else { finding.owners.join(", ") };
    let mut wrong = Vec::new();
    if finding.unreadable {
        wrong.push("its key cannot be opened".to_owned());
    } else if finding.lost {
        wrong.push("no whole copy is left".to_owned());
    } else {
        let copies = words::count(finding.copies, "whole copy");
        wrong.push(format!("{copies} found, {} now", finding.copies_now));
    }
    for (verb, disks) in [("damaged on", &finding.damaged_on), ("no answer from", &finding.unknown_on)] {
        if !disks.is_empty() {
            wrong.push(format!("{verb} {}", disks.join(", ")));
        }
    }
    format!("{}  {what}{owner}, {}: {}", finding.blob, finding.size, wrong.join("; "))
}

/// All of it, for people.
fn show(status: &StoreStatus) -> String {
    let mut rows = vec![
        ("store", status.summary.clone()),
        ("kept", format!("{}, {}", words::count(status.blobs, "blob"), status.bytes)),
    ];
    if status.doomed > 0 {
        rows.push(("to be deleted", format!("{}, {}", words::count(status.doomed, "blob"), status.doomed_bytes)));
    }
    let last = status.last_look.as_ref().map_or_else(|| "not looked yet".to_owned(), looked);
    rows.push(("copies", last));
    if let Some(look) = &status.look {
        let so_far = format!("{} of {}, {}", look.blobs, words::count(look.of, "blob"), repaired(look));
        rows.push(("looking now", so_far));
    }
    if let Some(scrub) = &status.scrub {
        let when =
            scrub.ended.map_or_else(|| format!("since {}", time(scrub.began)), |end| format!("by {}", time(end)));
        let wrong = format!("{} were not whole, {} lost", scrub.found, scrub.lost);
        rows.push(("bytes checked", format!("{} {when}, {}: {wrong}", words::count(scrub.blobs, "blob"), scrub.bytes)));
    }
    let size = |size: Option<protocol::ByteSize>| size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    let disks = status.disks.iter().map(|disk| {
        let since = disk.since.map(|since| format!(" (since {})", time(since))).unwrap_or_default();
        let state = format!("{}{since}", disk.words());
        [disk.name.clone(), disk.domain.clone(), size(disk.free), size(disk.total), state]
    });
    format!("{}\n\n{}", fields(&rows), table(["disk", "domain", "free", "of", "state"], disks))
}

/// What the last whole look has come to.
fn looked(look: &StoreLook) -> String {
    let at = time(look.ended.unwrap_or(look.began));
    match (look.found, look.fewer) {
        (0, _) => format!("{} with as many as are wanted at {at}", words::count(look.blobs, "blob")),
        (_, 0) => format!("as many as are wanted at {at}, {}", repaired(look)),
        (_, fewer) => format!("{} with fewer than are wanted at {at}, {}", words::count(fewer, "blob"), repaired(look)),
    }
}

fn repaired(look: &StoreLook) -> String {
    let lost = if look.lost > 0 { format!(", {} lost", words::count(look.lost, "blob")) } else { String::new() };
    format!("{} made ({}){lost}", words::count(look.copied, "copy"), look.copied_bytes)
}

#[cfg(test)]
mod tests {
    use protocol::api::{StoreDisk, StoreDiskState};
    use protocol::{BlobId, ByteSize, Epoch, Timestamp};

    use super::*;

    fn disk(name: &str, state: StoreDiskState) -> StoreDisk {
        StoreDisk {
            name: format!("disk /{name}"),
            domain: format!("m/{name}"),
            state,
            since: None,
            why: None,
            free: Some(ByteSize::mib(512)),
            total: Some(ByteSize::mib(1024)),
            left: None,
        }
    }

    fn look(found: u64, fewer: u64) -> StoreLook {
        StoreLook {
            began: Timestamp(0),
            ended: Some(Timestamp(5_000)),
            blobs: 7,
            of: 7,
            found,
            fewer,
            lost: 0,
            copied: found,
            copied_bytes: ByteSize::mib(found),
            removed: 0,
        }
    }

    #[test]
    fn the_status_says_what_an_operator_wants_to_know() {
        let mut gone = disk("b", StoreDiskState::Failing);
        (gone.since, gone.why, gone.free, gone.total) =
            (Some(Timestamp(2_000)), Some("no such folder".to_owned()), None, None);
        let mut leaving = disk("c", StoreDiskState::Draining);
        (leaving.since, leaving.left) = (Some(Timestamp(3_000)), Some(2));
        let status = StoreStatus {
            summary: "2 copies, 3 disks: 1 disk may be lost; 1 fails now".to_owned(),
            copies: 2,
            disks: vec![disk("a", StoreDiskState::Serving), gone, leaving],
            blobs: 7,
            bytes: ByteSize::mib(20),
            doomed: 1,
            doomed_bytes: ByteSize::kib(2),
            last_look: Some(look(3, 1)),
            look: Some(StoreLook { blobs: 2, ended: None, ..look(1, 0) }),
            scrub: None,
        };
        let shown = show(&status);
        let expected = "\
store          2 copies, 3 disks: 1 disk may be lost; 1 fails now
kept           7 blobs, 20MiB
to be deleted  1 blob, 2KiB
copies         1 blob with fewer than are wanted at 1970-01-01 00:00:05Z, 3 copies made (3MiB)
looking now    2 of 7 blobs, 1 copy made (1MiB)

DISK     DOMAIN  FREE    OF    STATE
disk /a  m/a     512MiB  1GiB  serving
disk /b  m/b     -       -     failing: no such folder (since 1970-01-01 00:00:02Z)
disk /c  m/c     512MiB  1GiB  draining: 2 pieces left (since 1970-01-01 00:00:03Z)";
        assert_eq!(shown, expected);
        assert_eq!(looked(&look(0, 0)), "7 blobs with as many as are wanted at 1970-01-01 00:00:05Z");
        assert_eq!(looked(&look(2, 0)), "as many as are wanted at 1970-01-01 00:00:05Z, 2 copies made (2MiB)");
    }

    #[test]
    fn a_finding_names_whose_it_is_and_what_became_of_it() {
        let mut finding = StoreFinding {
            blob: BlobId::new(Epoch(1), [2; 12]),
            owners: vec!["artifact".to_owned(), "job input".to_owned()],
            account: None,
            account_name: Some("ada".parse().unwrap()),
            size: ByteSize::kib(3),
            copies: 1,
            copies_now: 2,
            damaged_on: vec!["disk /a".to_owned()],
            unknown_on: Vec::new(),
            unreadable: false,
            lost: false,
        };
        let id = "00000001020202020202020202020202";
        let told = format!("{id}  artifact, job input of ada, 3KiB: 1 whole copy found, 2 now; damaged on disk /a");
        assert_eq!(found(&finding), told);
        (finding.lost, finding.account_name, finding.owners) = (true, None, vec!["runs".to_owned()]);
        assert_eq!(found(&finding), format!("{id}  runs, 3KiB: no whole copy is left; damaged on disk /a"));
    }
}
