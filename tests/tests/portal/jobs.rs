//! Jobs and triggers, click by click: written in a form, watched to their end, explained, cancelled.

use std::time::{Duration, Instant};

use tests::Platform;

use crate::browser::Browser;
use crate::windows::Journey;

/// Opens the part of the form that is folded, and asks for this path.
async fn asks_for_path(user: &Browser, path: &str) {
    user.clicks("details.request summary").await;
    user.fills("path", path).await;
}

/// The first boxes of the list.
const BOXES: &str = ".rows.lines tbody .choose input";
/// Rows of the list.
const ROWS: &str = ".jobs .rows.lines tbody tr";

/// The state of the list's first row.
const FIRST_STATE: &str = "return (document.querySelector('.jobs .rows.lines tbody .badge') || {}).textContent";

/// Submits what the form says; the place of the job.
async fn submits(user: &Browser) -> String {
    user.presses("Submit the job").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let place = user.place().await;
        if place.starts_with("/a/ada/jobs/job_") {
            return place;
        }
        assert!(Instant::now() < deadline, "no job was made:\n{}", user.text().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A job of another program, while the page is open.
const SUBMITTED_ELSEWHERE: &str = "return fetch('/api/v1/jobs', { method: 'POST', \
    headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' }, \
    body: JSON.stringify({ function: 'probe', path: '/status/503', labels: { from: 'elsewhere' } }) }).then(a => a.status)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_submitted_watched_explained_and_another_cancelled() {
    let platform = Platform::start();
    let ada = Journey::Job.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;

    // What there is not yet is explained, with a command that works.
    ada.visit("/a/ada/jobs").await;
    ada.sees("No jobs yet").await;
    ada.sees("crowdcloud jobs submit probe / -d 'hello'").await;
    ada.presses("New job").await;
    ada.arrives("/a/ada/jobs/new").await;

    // What is refused stands beside its field.
    ada.sees("Deployed as v1").await;
    asks_for_path(&ada, "/echo").await;
    ada.fills("input", "hello from the form").await;
    ada.clicks("details.end summary").await;
    ada.fills("labels", "kind=journey").await;
    ada.fills("cpus", "65").await;
    ada.sees("crowdcloud jobs submit probe /echo -d 'hello from the form' --cpus 65 --label kind=journey").await;
    ada.presses("Submit the job").await;
    ada.sees("Cpus is 65; allowed: 1 to 64").await;
    ada.element("input[name=cpus][aria-invalid=true]").await;
    ada.fills("cpus", "64").await;
    ada.sees("No node could take it.").await;
    ada.fills("cpus", "1").await;
    ada.sees("1 node could take it now.").await;
    ada.sees("A live node lends up to").await;
    ada.sees("No job of this function has run yet.").await;

    // Its page tells its life by itself, its answer, and why that node.
    let job = submits(&ada).await;
    ada.sees("answered 200").await;
    ada.element(".row .badge.good").await;
    ada.sees("200 OK").await;
    ada.sees("hello from the form").await;
    ada.sees("the node has taken it").await;
    ada.sees("Why this node").await;
    ada.sees("local-").await;
    ada.sees("chosen").await;
    ada.presses("kind=journey").await;
    ada.arrives("/a/ada/jobs/list?label=kind%3Djourney").await;
    ada.element(&format!("td.job-cell a[href='{job}']")).await;

    // The list follows what others do, but nothing moves under the pointer.
    ada.visit("/a/ada/jobs").await;
    ada.presses("Job list").await;
    ada.arrives("/a/ada/jobs/list").await;
    ada.element(&format!("td.job-cell a[href='{job}']")).await;
    ada.script("window.same = true").await;
    ada.points_at(&format!("td.job-cell a[href='{job}']")).await;
    assert_eq!(ada.script(SUBMITTED_ELSEWHERE).await, 202);
    ada.sees("1 new").await;
    ada.counts(ROWS, 1).await;
    ada.presses("1 new").await;
    ada.sees("from=elsewhere").await;
    ada.points_at("h1").await;
    ada.element("td .badge.bad").await;
    ada.selects("state", "succeeded").await;
    ada.arrives("/a/ada/jobs/list?state=succeeded").await;
    ada.element(&format!("td.job-cell a[href='{job}']")).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while ada.text().await.contains("from=elsewhere") {
        assert!(Instant::now() < deadline, "the filter lets all through:\n{}", ada.text().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ada.sees("kind=journey").await;
    ada.sees("of 128 MiB").await;
    ada.selects("state", "").await;
    ada.fills("label", "nonsense").await;
    ada.script("document.querySelector('form.search').requestSubmit()").await;
    ada.sees("Nonsense is neither a label nor a job's id.").await;
    ada.fills("label", "from=elsewhere").await;
    ada.script("document.querySelector('form.search').requestSubmit()").await;
    ada.arrives("/a/ada/jobs/list?label=from%3Delsewhere").await;
    ada.counts(ROWS, 1).await;
    assert_eq!(ada.script("return window.same").await, true, "the page was never loaded again");

    // One that runs is cancelled, and tried again.
    ada.visit("/a/ada/jobs/new?function=probe").await;
    ada.sees("Deployed as v1").await;
    asks_for_path(&ada, "/sleep?ms=60000").await;
    ada.fills("timeout", "2m").await;
    submits(&ada).await;
    ada.sees("the node has taken it").await;
    ada.presses("Cancel the job").await;
    ada.sees("Cancel this job?").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.sees("It was cancelled before it answered.").await;
    ada.presses("Try again").await;
    ada.sees("tried again by").await;
    // Its second try runs: the seventh step.
    ada.element("tbody tr:nth-child(7)").await;
    ada.presses("Cancel the job").await;
    ada.sees("Cancel this job?").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.sees("It was cancelled before it answered.").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

/// Three that run until they are cancelled, and one that dies.
const SUBMITTED: &str = "const send = job => fetch('/api/v1/jobs', { method: 'POST', body: JSON.stringify(job), \
    headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.status); \
    const long = { function: 'probe', path: '/sleep?ms=60000', timeout: '2m' }; \
    const dying = { function: 'probe', path: '/status/503', retries: 1, backoff: '50ms', labels: { fate: 'dead' } }; \
    return Promise.all([long, long, long, dying].map(send)).then(all => all.join())";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_are_cancelled_at_once_and_each_figure_leads_to_its_rows() {
    let platform = Platform::start();
    let ada = Journey::SeveralJobs.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    assert_eq!(ada.script(SUBMITTED).await, "202,202,202,202");

    // The overview names what needs attention, and shows what goes on.
    ada.visit("/a/ada/jobs").await;
    ada.sees("1 job used up every try in the last 24 hours").await;
    ada.sees("Waiting and running now").await;
    ada.sees("Dead jobs").await;
    ada.sees("1 (100 %)").await;
    ada.presses("1 job used up every try in the last 24 hours").await;
    ada.counts(ROWS, 1).await;
    ada.sees("fate=dead").await;

    // Those that are chosen are cancelled together.
    ada.visit("/a/ada/jobs/list").await;
    ada.selects("state", "queued,placed,running").await;
    ada.arrives("/a/ada/jobs/list?state=queued%2Cplaced%2Crunning").await;
    ada.counts(ROWS, 3).await;
    ada.clicks(BOXES).await;
    ada.sees("1 chosen").await;
    ada.presses("Choose all shown").await;
    ada.sees("3 chosen").await;
    ada.presses("Cancel the chosen").await;
    ada.sees("Cancel the chosen jobs?").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.sees("No job is like that.").await;

    // The API sorts, by what it has an index for; the head of the column knows the same order.
    ada.visit("/a/ada/jobs/list").await;
    ada.counts(ROWS, 4).await;
    for (sort, first) in [("ended", "dead"), ("-ended", "cancelled")] {
        ada.selects("sort", sort).await;
        ada.arrives(&format!("/a/ada/jobs/list?sort={sort}")).await;
        ada.tells(FIRST_STATE, first).await;
        ada.sees("ended jobs").await;
    }
    ada.clicks("th button.sort").await;
    ada.arrives("/a/ada/jobs/list").await;
    ada.clicks("th button.sort").await;
    ada.arrives("/a/ada/jobs/list?sort=submitted").await;
    ada.counts("th[aria-sort=ascending]", 1).await;

    // Each count leads to as many rows.
    ada.visit("/a/ada/jobs?period=1h").await;
    ada.presses("3 cancelled").await;
    ada.counts(ROWS, 3).await;
    assert!(ada.place().await.starts_with("/a/ada/jobs/list?state=cancelled&ended_from="));
    ada.goes_back().await;
    ada.arrives("/a/ada/jobs?period=1h").await;

    // A dead one is tried again from here, and dies again.
    ada.clicks(".tile[href*='state=failed']").await;
    ada.counts(ROWS, 1).await;
    ada.presses("Choose all shown").await;
    ada.presses("Try 1 job again").await;
    ada.sees("No job is like that.").await;
    ada.visit("/a/ada/jobs").await;
    ada.presses("Try again").await;
    ada.sees("1\ndead").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

/// How many kinds of input stand in each row.
const KINDS_BY_ROW: &str = "const rows = new Map(); \
    for (const kind of document.querySelectorAll('input[name=kind]')) { \
        const top = kind.closest('.choice').offsetTop; \
        rows.set(top, (rows.get(top) ?? 0) + 1); \
    } \
    return [...rows.values()].join()";

/// A file, dropped beside the fields.
const DROPPED: &str = "const files = new DataTransfer(); files.items.add(new File(['import sys'], 'probe.py')); \
    const on = document.querySelector('main form.form'); \
    for (const type of ['dragover', 'drop']) \
        on.dispatchEvent(new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_jobs_are_an_array_and_a_trigger_makes_more() {
    let platform = Platform::start();
    let ada = Journey::JobsOfALine.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;

    // A job for each line. None of the four kinds of input stands alone, however wide the page is.
    ada.visit("/a/ada/jobs/new").await;
    ada.sees("Deployed as v1").await;
    for (width, rows) in [(360, "2,2"), (500, "2,2"), (1280, "2,2"), (1600, "4")] {
        ada.is_wide(width).await;
        ada.tells(KINDS_BY_ROW, rows).await;
    }
    ada.is_wide(Journey::JobsOfALine.window().0).await;
    ada.chooses("kind", "lines").await;
    ada.fills("input", "one\ntwo\nthree").await;
    asks_for_path(&ada, "/echo").await;
    ada.presses("Submit the jobs").await;
    ada.sees("probe v1 #2").await;
    assert!(ada.place().await.starts_with("/a/ada/jobs/list?array=job_"));

    // A file is an input, too.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input.bin");
    std::fs::write(&file, vec![7_u8; 600 << 10]).unwrap();
    ada.visit("/a/ada/jobs/new").await;
    ada.sees("Deployed as v1").await;
    ada.chooses("kind", "file").await;
    ada.gives_file("file", &file).await;
    asks_for_path(&ada, "/count").await;
    submits(&ada).await;
    ada.sees(&(600 << 10).to_string()).await;

    // So is a program that is no function yet: dropped anywhere on the form, or chosen.
    ada.visit("/a/ada/jobs/new").await;
    ada.sees("Deployed as v1").await;
    ada.script(DROPPED).await;
    ada.sees("A Python handler.").await;
    ada.sees("What was found").await;
    ada.sees("crowdcloud deploy probe.py --name probe-2 --account ada --base python").await;
    ada.gives_file("artifact", &tests::guest("probe")).await;
    ada.sees("Its runs take").await;
    ada.sees("A WebAssembly").await;
    ada.fills("name", "probe").await;
    ada.fills("input", "given to a file").await;
    asks_for_path(&ada, "/echo").await;
    ada.presses("Submit the job").await;
    ada.sees("name_taken").await;
    ada.element("input[name=name][aria-invalid=true]").await;
    ada.fills("name", "fresh").await;
    ada.sees("crowdcloud jobs submit fresh /echo").await;
    submits(&ada).await;
    ada.sees("fresh v1").await;
    ada.sees("200 OK").await;

    // A trigger says when it is due before it is set, and can be deleted.
    ada.visit("/a/ada/functions/probe/triggers").await;
    ada.sees("None yet.").await;
    ada.fills("name", "often").await;
    ada.fills("zone", "Europe/Berlin").await;
    ada.fills("cron", "61 * * * *").await;
    ada.presses("Set the trigger").await;
    ada.sees("invalid_field").await;
    ada.element("input[name=cron][aria-invalid=true]").await;
    ada.fills("cron", "30 8 * * 1-5").await;
    ada.sees("08:30 (Europe/Berlin)").await;
    ada.presses("Set the trigger").await;
    ada.element("td .next-times time").await;
    ada.presses("Pause").await;
    ada.element("td .badge.warn").await;
    ada.presses("Delete").await;
    ada.sees("Delete the trigger often?").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.sees("None yet.").await;

    // One of a queue that is made with it takes each message as a job's input.
    ada.chooses("by", "queue").await;
    ada.fills("name", "orders-in").await;
    ada.sees("crowdcloud queues put orders 'a message'").await;
    ada.fills("queue", "Orders!").await;
    ada.presses("Set the trigger").await;
    ada.element("input[name=queue][aria-invalid=true]").await;
    ada.fills("queue", "orders").await;
    asks_for_path(&ada, "/echo").await;
    ada.presses("Set the trigger").await;
    ada.sees("at each message").await;
    let put = "return fetch('/api/v1/queues/orders/messages', { method: 'POST', body: JSON.stringify( \
               { messages: [{ body: { text: 'a message from the queue' } }] }), headers: \
               { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.status)";
    assert_eq!(ada.script(put).await, 201);
    ada.visit("/a/ada/jobs/list?label=trigger%3Dorders-in").await;
    ada.clicks("td a[href*='/jobs/job_']").await;
    ada.sees("a message from the queue").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
