//! Templates of a base: all images on it share them, and find in memory what the base's own program has read.

use std::path::Path;

use microvm::{Disk, End, Error, Template};

use crate::support::{SHAPE, bench, command, image, run};

const FILE_BYTES: usize = 4 << 20;
const FILE: &str = "/data/large";

fn base_image(folder: &Path, name: &str) -> Disk {
    let content: Vec<u8> = (0..FILE_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let path = image(folder, name, |root| std::fs::write(root.join("data/large"), &content).unwrap());
    Disk::open(&path).unwrap()
}

/// Bytes that a run's first reading of the base's file takes from the drives.
async fn cost(template: &Template, disk: &Disk) -> usize {
    let (output, log, ended) = run(template.restore(Some(disk)).await.unwrap(), command(&["drive", FILE])).await;
    assert_eq!(ended.end, End::Exited(0), "{log}");
    output.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_on_a_base_find_its_files_in_memory_and_nothing_else_of_it() {
    let bench = bench().await;
    let folder = bench.folder.path();
    let base = base_image(folder, "base");
    let open = |name: &str| Disk::open(&image(folder, name, |_| ())).unwrap();
    let (one, other) = (open("one").on(&base).unwrap(), open("other").on(&base).unwrap());

    let plain = bench.host.template(SHAPE).await.unwrap();
    assert!(cost(&plain, &one).await >= FILE_BYTES);
    let warm = bench.host.base_template(SHAPE, &base, &["/bin/guest", "drive", FILE]).await.unwrap();
    for disk in [&one, &other, &one] {
        let cost = cost(&warm, disk).await;
        assert!(cost < FILE_BYTES / 8, "{cost} bytes were read from the drives");
    }
    // And so does a template that was made out of it for one of them.
    let prepared = warm.prepared(&one, 32 << 20, &[]).await.unwrap();
    let cost_prepared = cost(&prepared, &one).await;
    assert!(cost_prepared < FILE_BYTES / 8, "{cost_prepared} bytes were read from the drives");
    assert!(prepared.restore(Some(&other)).await.is_err());
    // Opened anew it is the same base.
    let again = Disk::open(&folder.join("base.squashfs")).unwrap();
    assert!(cost(&warm, &open("third").on(&again).unwrap()).await < FILE_BYTES / 8);
    // What they read lies in memory that was used before: a guest that has booted holds more than the file either way.
    assert!(warm.memory().unwrap() > FILE_BYTES as u64);

    // The base's own program has left no process behind, and what it could write nowhere is nowhere.
    let (output, ..) = run(warm.restore(Some(&one)).await.unwrap(), command(&["escape"])).await;
    assert_eq!(output, "open [] processes 2\n");
    let (output, ..) = run(warm.restore(Some(&one)).await.unwrap(), command(&["canary", "a"])).await;
    assert!(output.starts_with("found 0 "), "{output}");
    let (output, ..) = run(warm.restore(Some(&other)).await.unwrap(), command(&["canary", "b"])).await;
    assert!(output.starts_with("found 0 "), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bases_template_takes_no_other_images_and_a_base_without_its_program_is_only_colder() {
    let bench = bench().await;
    let folder = bench.folder.path();
    let (base, foreign) = (base_image(folder, "base"), base_image(folder, "foreign"));
    let template = bench.host.base_template(SHAPE, &base, &["/bin/nothing"]).await.unwrap();
    let on_foreign = bench.disk.clone().on(&foreign).unwrap();
    for disk in [None, Some(&bench.disk), Some(&on_foreign)] {
        assert!(matches!(template.restore(disk).await, Err(Error::Missing(_))));
    }
    let on_base = bench.disk.clone().on(&base).unwrap();
    let (output, _, ended) = run(template.restore(Some(&on_base)).await.unwrap(), command(&["hello"])).await;
    assert_eq!((output.as_str(), ended.end), ("hello\n", End::Exited(0)));
}
