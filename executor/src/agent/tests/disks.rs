//! Disks for blobs: a role beside the lanes, which needs none of what runs need.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::NodeEndpoint;
use protocol::node::StoreDisk;
use protocol::{BlobId, DiskId, Epoch};
use store::engine::NodeDisk;
use store::{Engine as _, SegmentName};

use super::ground::Ground;

#[tokio::test(flavor = "multi_thread")]
async fn disks_are_served_before_a_hello_is_through_and_while_the_node_takes_no_runs() {
    let ground = Ground::start().await;
    ground.core.lock().hellos_refused = u32::MAX;
    let folder = ground.folder.path().join("disk");
    let mut config = ground.config();
    config.store_dir = vec![folder.clone()];
    config.quiet_hours = Some("Mon-Sun 00:00-24:00 Europe/Berlin".parse().unwrap());
    let (agent, mut is_ready) = ground.begin(config).await;

    let begun = Instant::now();
    let id: DiskId = loop {
        let marked = std::fs::read_to_string(folder.join("disk-id")).ok().and_then(|text| text.trim().parse().ok());
        match marked {
            Some(id) => break id,
            None => assert!(begun.elapsed() < Duration::from_secs(20), "the node marks no disk"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let disk = NodeDisk::new(ground.fabric.clone(), ground.node, StoreDisk { id, domain: "here".to_owned() });
    let name = |number| SegmentName { blob: BlobId::new(Epoch(1), [2; 12]), number };
    let segment = Bytes::from(vec![7_u8; 300_000]);
    while let Err(error) = disk.put(name(0), segment.clone()).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_ready.try_recv().is_err(), "its hello has no answer");
    assert_eq!(disk.read(name(0), None).await.unwrap(), Some(segment.clone()));

    // Then it tells of it. It pauses, and it is drained.
    ground.core.lock().hellos_refused = 0;
    tokio::time::timeout(Duration::from_secs(20), is_ready).await.unwrap().unwrap();
    let told = ground.core.lock().hello.clone().unwrap().disks;
    assert_eq!(told.iter().map(|disk| disk.id).collect::<Vec<_>>(), [id]);
    disk.put(name(1), segment.clone()).await.unwrap();
    let ticket = ground.deploy(b"no program".to_vec());
    let drained = ground.call(NodeEndpoint::Control, &ticket, http::Request::post("/drain"), "").await.unwrap();
    assert!(drained.response.status().is_success());
    disk.put(name(2), segment).await.unwrap();
    assert_eq!(disk.list(None, 10).await.unwrap().len(), 3);
    agent.stop().await;
    assert!(disk.has(name(0)).await.is_err());
}
