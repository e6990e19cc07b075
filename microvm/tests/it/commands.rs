//! Commands in real guests: what goes in, what comes out, and how each way to end is told.

use std::time::{Duration, Instant};

use microvm::{Contract, End, Error, MachineEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::step::{self, steps};
use crate::support::{Ground, LONG, SHAPE, bench, command, finish, ground, image, run};

#[tokio::test(flavor = "multi_thread")]
async fn commands_take_requests_and_end() {
    let ground = &ground().await;
    steps!(
        ground;
        a_command_gets_its_request_and_answers,
        f05_standard_streams_have_names_for_every_user,
        every_end_has_its_name,
        a_slow_reader_bounds_memory_and_loses_nothing,
        programs_find_what_a_processor_of_today_can_do,
    );
}

async fn a_command_gets_its_request_and_answers(ground: &Ground) {
    let Ground { bench, template } = ground;
    let restore = || async { template.restore(Some(&bench.disk)).await.unwrap() };

    let (output, log, ended) = run(restore().await, command(&["hello"])).await;
    assert_eq!((output.as_str(), log.as_str(), &ended.end), ("hello\n", "", &End::Exited(0)));
    assert!(ended.usage.unwrap().memory_peak_bytes > 0);

    let mut with_head = command(&["env"]);
    with_head.env.extend(["REQUEST_METHOD=PUT".to_owned(), "QUERY_STRING=a=b&c".to_owned()]);
    let (output, ..) = run(restore().await, with_head).await;
    assert_eq!(output, "PATH=/bin\nREQUEST_METHOD=PUT\nQUERY_STRING=a=b&c\n");

    let (_, log, ended) = run(restore().await, command(&["log"])).await;
    assert_eq!((log.as_str(), ended.end), ("this is logged\n", End::Exited(0)));

    let started = restore().await.start(command(&["cat"]), LONG).await.unwrap();
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let (output, _, ended) = finish(started, &body).await;
    assert!(output == body, "{} of {} bytes came back", output.len(), body.len());
    assert_eq!(ended.end, End::Exited(0));

    // A command that reads nothing of its stdin, and a program that was not there when the template was made.
    let started = restore().await.start(command(&["hello"]), LONG).await.unwrap();
    let (output, _, ended) = finish(started, &body).await;
    assert_eq!((output.as_slice(), ended.end), (b"hello\n".as_slice(), End::Exited(0)));
    let other = image(bench.folder.path(), "other", |root| std::fs::write(root.join("bin/note"), "text").unwrap());
    let other = microvm::Disk::open(&other).unwrap();
    let mut note = command(&[]);
    note.argv = vec!["note".to_owned()];
    let (_, _, ended) = run(template.restore(Some(&other)).await.unwrap(), note).await;
    assert_eq!(ended.end, End::EntryRefused(13));
}

/// `echo >/dev/stdout` and the like open the pipe anew, and so need a right to it.
async fn f05_standard_streams_have_names_for_every_user(ground: &Ground) {
    let Ground { bench, template } = ground;
    let expected = "to /dev/stdout\nto /proc/self/fd/1\nto /dev/fd/1\n/dev/stdin: first\n/proc/self/fd/0: other\n";
    for (uid, gid) in [(1000, 1000), (2001, 0), (33, 44), (0, 0)] {
        let mut workload = command(&["streams"]);
        (workload.uid, workload.gid) = (uid, gid);
        let started = template.restore(Some(&bench.disk)).await.unwrap().start(workload, LONG).await.unwrap();
        let (output, log, ended) = finish(started, b"firstother").await;
        assert_eq!(String::from_utf8_lossy(&output), expected, "user {uid}");
        assert_eq!((log.as_str(), ended.end), ("to /dev/stderr\nto /proc/self/fd/2\n", End::Exited(0)), "user {uid}");
    }
}

async fn every_end_has_its_name(ground: &Ground) {
    let Ground { bench, template } = ground;
    let restore = || async { template.restore(Some(&bench.disk)).await.unwrap() };
    let end = |workload| async { run(restore().await, workload).await.2.end };

    assert_eq!(end(command(&["exit", "7"])).await, End::Exited(7));
    assert_eq!(end(command(&["abort"])).await, End::Killed(6));
    assert_eq!(end(command(&["memory", "400"])).await, End::OutOfMemory);
    let mut missing = command(&[]);
    missing.argv = vec!["/bin/nothing".to_owned()];
    assert_eq!(end(missing).await, End::EntryMissing);
    // A root's own guest is its own to lose.
    let mut panic = command(&["panic"]);
    (panic.uid, panic.gid) = (0, 0);
    assert_eq!(end(panic).await, End::Panicked("sysrq triggered crash".to_owned()));

    let garbage = bench.folder.path().join("garbage");
    std::fs::write(&garbage, [7; 8192]).unwrap();
    let garbage = microvm::Disk::open(&garbage).unwrap();
    let (_, _, ended) = run(template.restore(Some(&garbage)).await.unwrap(), command(&["hello"])).await;
    assert!(matches!(ended.end, End::ImageRefused(_)), "{ended:?}");
    // A clone that is to wait has its image mounted, so that this is known before its run comes.
    let mut waiting = template.restore(Some(&garbage)).await.unwrap();
    let refused = waiting.rehearse(Contract::Command, 32 << 20, &[]).await;
    assert!(matches!(refused, Err(Error::Guest(_))), "{refused:?}");

    // Neither does it matter where a program's name leads when it is read beforehand.
    let traps = image(bench.folder.path(), "traps", |root| {
        std::os::unix::fs::symlink("/proc/kmsg", root.join("bin/outside")).unwrap();
        std::os::unix::fs::symlink("../../../dev/zero", root.join("bin/endless")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("bin/pipe"), 0o666.into()).unwrap();
    });
    let traps = microvm::Disk::open(&traps).unwrap();
    let mut waiting = template.restore(Some(&traps)).await.unwrap();
    let names = ["bin/outside", "bin/endless", "bin/pipe", "bin/nothing", "bin", "", "../bin/guest"].map(str::to_owned);
    waiting.rehearse(Contract::Command, 32 << 20, &names).await.unwrap();
    assert_eq!(run(waiting, command(&["hello"])).await.2.end, End::Exited(0));

    // A deadline, with what was used until then.
    let begin = Instant::now();
    let mut late = restore().await.start(command(&["sleep", "60000"]), Duration::from_secs(2)).await.unwrap();
    let ended = late.ended().await;
    assert_eq!(ended.end, End::Deadline);
    assert!(ended.usage.is_some() && begin.elapsed() < LONG);

    // The caller goes away in the middle of an endless answer.
    let mut endless = restore().await.start(command(&["spit", "0"]), LONG).await.unwrap();
    let mut piece = vec![0; 1 << 20];
    endless.stdio.as_mut().unwrap().read_exact(&mut piece).await.unwrap();
    endless.stop().await;
    assert_eq!(endless.ended().await.end, End::Stopped);

    // Somebody kills QEMU.
    let mut killed = restore().await.start(command(&["sleep", "60000"]), LONG).await.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(killed.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(matches!(killed.ended().await.end, End::MachineDied(_)));

    let mut events = restore().await.start(command(&["hello"]), LONG).await.unwrap();
    let mut told = events.events.take().unwrap();
    assert_eq!(told.recv().await, Some(MachineEvent::Resumed));
}

async fn a_slow_reader_bounds_memory_and_loses_nothing(ground: &Ground) {
    let Ground { bench, template } = ground;
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut run = paused.start(command(&["cat"]), LONG).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(run.stdio.take().unwrap());
    // Nobody reads: the writer must come to a stand after what pipes and windows hold.
    let block = vec![3; 64 << 10];
    let mut written = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_secs(1), writer.write_all(&block)).await {
        result.unwrap();
        written += block.len();
        assert!(written < 4 << 20, "a workload that is not read took {written} bytes");
    }
    let reading = tokio::spawn(async move {
        let (mut total, mut piece) = (0, vec![0; 3000]);
        loop {
            let read = reader.read(&mut piece).await.unwrap();
            if read == 0 {
                return total;
            }
            total += read;
        }
    });
    // The piece that was cut off by the timeout may have gone in part: count from the other end.
    writer.shutdown().await.unwrap();
    let total = reading.await.unwrap();
    assert!(total >= written && total < written + block.len(), "{total} of {written}");
    assert_eq!(run.ended().await.end, End::Exited(0));
}

async fn programs_find_what_a_processor_of_today_can_do(ground: &Ground) {
    let Ground { bench, template } = ground;
    let (output, ..) = run(template.restore(Some(&bench.disk)).await.unwrap(), command(&["features"])).await;
    let found: Vec<&str> = output.split_ascii_whitespace().collect();
    // What compiled libraries choose their code by.
    for name in ["sse4_2", "popcnt", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "aes"] {
        assert!(found.contains(&name), "no {name}: {output}");
    }
}

/// A guest that has no memory left must not look for some for ever. `CROWDCLOUD_HOG_ROUNDS` says how often it is tried:
/// it happens once in fifty times where nothing is done about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_memory_hog_ends_soon_each_time() {
    let bench = bench().await;
    let template = bench.host.template(SHAPE).await.unwrap();
    let rounds = std::env::var("CROWDCLOUD_HOG_ROUNDS").ok().map_or(8, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let machine = template.restore(Some(&bench.disk)).await.unwrap();
        let mut workload = command(&["memory", "400"]);
        // Its own limit comes first, or the machine's end.
        workload.memory_bytes = (round % 2 == 0).then_some(32 << 20);
        let mut hog = machine.start(workload, Duration::from_secs(30)).await.unwrap();
        let ended = hog.ended().await;
        assert_eq!(ended.end, End::OutOfMemory, "round {round}: {ended:?}");
    }
}
