//! Disks of nodes: a real server between them and the core, with the credentials that nodes and the core have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::{Authority, Fabric, FabricConfig, Identity, NatsServer, NatsServerConfig, Peer, Serving, UserKey};
use http_body_util::BodyExt as _;
use protocol::node::StoreDisk;
use protocol::{Code, Digest, InstanceId, NodeId, Problem, headers};

use super::nats::binary;
use super::{EPOCH, SEGMENT, copies, files_below, noise, read, segment};
use crate::engine::NodeDisk;
use crate::{Deleted, DiskError, DiskFolder, DiskService, Engine, Error, NodeDisks, Store};

/// A server and its keys.
pub(super) struct Ground {
    server: NatsServer,
    authority: Authority,
    _folder: tempfile::TempDir,
}

/// A node with one disk.
pub(super) struct Node {
    id: NodeId,
    folder: tempfile::TempDir,
    disks: Vec<StoreDisk>,
    fabric: Fabric,
    _serving: Serving,
}

impl Ground {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = NatsServerConfig { binary: binary(), folder: folder.path().join("nats"), listen };
        let server = NatsServer::start(config, &authority).await.unwrap();
        Self { server, authority, _folder: folder }
    }

    async fn core(&self) -> Fabric {
        let credentials = self.authority.lenders_user("core").unwrap();
        let (url, identity) = (self.server.url(), Identity::Core(InstanceId::new()));
        Fabric::connect(FabricConfig { url, credentials, identity, name: "core".to_owned() }).await.unwrap()
    }

    /// A new one, whose disk is in this domain.
    pub(super) async fn node(&self, domain: &str) -> Node {
        self.node_on(NodeId::new(), tempfile::tempdir().unwrap(), domain).await
    }

    async fn node_on(&self, id: NodeId, folder: tempfile::TempDir, domain: &str) -> Node {
        let credentials = UserKey::generate().of_node(self.authority.registrar(), id).unwrap();
        let config =
            FabricConfig { url: self.server.url(), credentials, identity: Identity::Node(id), name: id.to_string() };
        let fabric = Fabric::connect(config).await.unwrap();
        let begun = Instant::now();
        let service = loop {
            // One that has just died in this process may hold its disk for a moment.
            match DiskService::open(&[folder.path().to_owned()], Some(domain)) {
                Ok(service) => break service,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let disks = service.told();
        let serving = service.mount(&fabric).await.unwrap();
        Node { id, folder, disks, fabric, _serving: serving }
    }

    /// Its disk, for the core.
    pub(super) async fn disk(&self, node: &Node) -> NodeDisk {
        NodeDisk::new(self.core().await, node.id, node.disks[0].clone())
    }
}

impl Node {
    /// Its process dies; what is on its disk stays.
    async fn die(self) -> (NodeId, tempfile::TempDir) {
        self.fabric.close().await;
        (self.id, self.folder)
    }
}

fn all(nodes: &[Node]) -> impl Iterator<Item = (NodeId, i64, &[StoreDisk])> {
    nodes.iter().map(|node| (node.id, 0, &*node.disks))
}

async fn whole(store: &Store, blob: &protocol::Blob) -> usize {
    store.check(blob).await.iter().filter(|copy| copy.is_whole()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_goes_is_destroyed_and_comes_back() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let mut nodes = Vec::new();
    for domain in ["a", "b", "c"] {
        nodes.push(ground.node(domain).await);
    }
    let store = Store::changing(copies(2)).with_patience(Duration::from_secs(5));
    let disks = NodeDisks::of(&store, &core).unwrap();
    disks.know(all(&nodes));
    let bytes = noise(SEGMENT + 100_000, 1);
    let mut blobs = Vec::new();
    for _ in 0..6 {
        blobs.push(store.put_bytes(EPOCH, bytes.clone()).await.unwrap());
    }
    for blob in &blobs {
        assert_eq!(whole(&store, blob).await, 2);
    }

    // Its process is gone, and its disk is on record still: nothing is said to be lost, and all goes on.
    let (id, folder) = nodes.remove(0).die().await;
    for blob in &blobs {
        assert!(read(&store, blob).await.unwrap() == bytes);
    }
    let during = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    assert_eq!(whole(&store, &during).await, 2);
    assert!(
        matches!(store.delete(during.id, during.size).await, Ok(Deleted::InPart(_))),
        "one may have some of it still"
    );

    // It comes back with what it has, after a restart of its machine.
    let back = ground.node_on(id, folder, "a").await;
    nodes.insert(0, back);
    disks.know(all(&nodes));
    store.delete(during.id, during.size).await.unwrap();
    let kept: usize = files_below(&nodes[0].folder.path().join("blobs")).len();
    assert!(kept > 0);

    // Its disk is destroyed: another one is in its place, which has nothing.
    let (id, folder) = nodes.remove(0).die().await;
    drop(folder);
    let empty = ground.node_on(id, tempfile::tempdir().unwrap(), "a").await;
    nodes.insert(0, empty);
    disks.know(all(&nodes));
    for blob in &blobs {
        assert!(read(&store, blob).await.unwrap() == bytes);
    }
    let mut left = 0;
    for blob in &blobs {
        left += whole(&store, blob).await;
    }
    assert_eq!(left, 2 * blobs.len() - kept / 2, "each has two segments");
    let after = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    assert_eq!(whole(&store, &after).await, 2);

    // Nodes that are off the record count no more.
    nodes.truncate(1);
    disks.know(all(&nodes));
    let refused = store.put_bytes(EPOCH, bytes).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 2, left: 1 })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_gives_other_bytes_is_passed_over_and_mended() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let nodes = [ground.node("a").await, ground.node("b").await];
    let store = Store::changing(copies(2)).with_patience(Duration::from_secs(5));
    let disks = NodeDisks::of(&store, &core).unwrap();
    disks.know(all(&nodes));
    let bytes = noise(100_000, 1);
    let blob = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    let other = store.put_bytes(EPOCH, noise(100_000, 2)).await.unwrap();
    let file = |node: &Node, blob: &protocol::Blob| {
        let files = files_below(&node.folder.path().join("blobs"));
        files.into_iter().find(|file| file.to_string_lossy().contains(&blob.id.to_string())).unwrap()
    };
    for node in &nodes {
        std::fs::copy(file(node, &other), file(node, &blob)).unwrap();
        assert!(read(&store, &blob).await.unwrap() == bytes);
        assert_eq!(whole(&store, &blob).await, 1);
        let mended = store.segments(&blob).unwrap().mend(0, &BTreeSet::new()).await;
        assert_eq!((mended.before, mended.after), (1, 2), "{mended:?}");
        assert_eq!(whole(&store, &blob).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_wait_for_the_first_disks() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let nodes = [ground.node("a").await, ground.node("b").await];
    let store = Store::changing(copies(2)).with_patience(Duration::from_millis(500));
    let disks = NodeDisks::of(&store, &core).unwrap();
    let refused = store.put_bytes(EPOCH, noise(10, 1)).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 2, left: 0 })), "{refused:?}");
    let store = store.with_patience(Duration::from_secs(20));
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put_bytes(EPOCH, noise(10, 1)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    disks.know(all(&nodes));
    let blob = put.await.unwrap().unwrap();

    // Nobody knows a disk: whether there is such a blob, nobody knows either.
    let later = Store::changing(copies(2)).with_patience(Duration::from_millis(100));
    assert!(matches!(read(&later, &blob).await, Err(Error::Engine(_))));
    assert!(matches!(later.delete(blob.id, blob.size).await, Err(Error::Engine(_))));
    let later = later.with_patience(Duration::from_secs(20));
    let known = NodeDisks::of(&later, &core).unwrap();
    let reading = tokio::spawn(async move { read(&later, &blob).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    known.know(all(&nodes));
    assert_eq!(reading.await.unwrap().unwrap(), noise(10, 1));
    assert!(NodeDisks::of(&Store::on(Vec::new(), copies(1)), &core).is_none(), "its engines are its own");
}

/// The node that it was taken from is silent, and still on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_moved_is_asked_for_where_it_was_told_of_last() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let ids = [NodeId::new(), NodeId::new()];
    let (first, second) = (ids.into_iter().min().unwrap(), ids.into_iter().max().unwrap());
    let before = ground.node_on(first, tempfile::tempdir().unwrap(), "a").await;
    let told = before.disks.clone();
    let store = Store::changing(copies(1)).with_patience(Duration::from_secs(5));
    let disks = NodeDisks::of(&store, &core).unwrap();
    disks.know(all(std::slice::from_ref(&before)));
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    let (_, folder) = before.die().await;
    let after = ground.node_on(second, folder, "a").await;
    assert_eq!(after.disks, told);
    // The present one is asked until it fails.
    disks.know([(first, 7, told.as_slice()), (second, 8, after.disks.as_slice())]);
    drop(read(&store, &blob).await);
    for _ in 0..2 {
        disks.know([(first, 7, told.as_slice()), (second, 8, after.disks.as_slice())]);
        assert_eq!(read(&store, &blob).await.unwrap(), noise(10, 1));
    }
    assert_eq!(store.engines().len(), 1);
}

/// A node has two disks of one device: they are one domain, unless the operator says otherwise.
#[test]
fn folders_are_disks_with_ids_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["one", "two"].map(|name| folder.path().join(name));
    let service = DiskService::open(&folders, None).unwrap();
    let told = service.told();
    assert_eq!(told.len(), 2);
    assert_ne!(told[0].id, told[1].id);
    assert_eq!(told[0].domain, told[1].domain);
    assert!(told[0].domain.contains('/'), "{}", told[0].domain);

    let held = DiskService::open(&folders[1..], None).err().unwrap();
    assert!(held.to_string().contains("another process serves this disk"), "{held}");
    drop(service);
    let again = DiskService::open(&folders, Some("rack 3")).unwrap().told();
    assert_eq!(
        again.iter().map(|disk| disk.id).collect::<Vec<_>>(),
        told.iter().map(|disk| disk.id).collect::<Vec<_>>()
    );
    assert!(again.iter().all(|disk| disk.domain == "rack 3"));
    let apart = DiskService::open(&folders, Some("/local-1")).unwrap().told();
    assert!(apart.iter().all(|disk| disk.domain == format!("{}/local-1", told[0].domain)), "{apart:?}");

    std::fs::remove_dir_all(&folders[0]).unwrap();
    let emptied = DiskService::open(&folders[..1], None).unwrap().told();
    assert!(told.iter().all(|disk| disk.id != emptied[0].id), "an emptied disk is another one");
    std::fs::write(folders[1].join("disk-id"), "disk_1").unwrap();
    assert!(DiskService::open(&folders[1..], None).is_err());
}

#[tokio::test]
async fn a_disk_that_is_dead_or_not_mounted_is_told_and_the_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["well", "dead", "below"].map(|name| folder.path().join(name));
    let told = DiskService::open(&paths, None).unwrap();
    let known: std::collections::BTreeMap<_, _> =
        told.folders().map(|(folder, disk)| (folder.to_owned(), disk)).collect();
    drop(told);
    std::fs::remove_dir_all(&paths[1]).unwrap();
    std::fs::write(&paths[1], "no folder").unwrap();
    std::fs::remove_dir_all(&paths[2]).unwrap();
    std::fs::create_dir(&paths[2]).unwrap();
    let open = |may_be_new: bool| {
        let folders =
            paths.iter().map(|path| DiskFolder { path: path.clone(), known: known.get(path).cloned(), may_be_new });
        DiskService::open_each(folders.collect(), None).unwrap()
    };
    let (disks, failed) = open(false);
    assert!(
        matches!(&failed[..], [DiskError::Engine(_), DiskError::NotThere { id, .. }] if *id == known[&paths[2]].id)
    );
    assert!(failed[1].to_string().contains("--store-dir-new"), "{}", failed[1]);
    assert_eq!(std::fs::read_dir(&paths[2]).unwrap().count(), 0, "nothing is made below it");
    let ids = |disks: &DiskService| disks.told().into_iter().map(|disk| disk.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&disks), known.values().map(|disk| disk.id).collect::<BTreeSet<_>>());
    assert_eq!(disks.folders().count(), 1);
    let path = format!("/disks/{}/space", known[&paths[1]].id);
    let request = http::Request::get(path).extension(Peer::Core(InstanceId::new())).body(fabric::empty()).unwrap();
    assert_eq!(disks.respond(request).await.status(), 503, "it is not said to be lost");
    drop(disks);

    // An empty one is to take its place. The dead one is told still.
    let (disks, failed) = open(true);
    assert_eq!((failed.len(), disks.told().len(), disks.folders().count()), (1, 3, 2));
    assert!(!ids(&disks).contains(&known[&paths[2]].id));
}

#[tokio::test]
async fn what_is_no_segment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = DiskService::open(&[folder.path().to_owned()], None).unwrap();
    let disk = service.told()[0].id;
    let ask = async |method: &str, path: &str, digest: Option<Digest>, peer: Peer| {
        let mut request = http::Request::builder().method(method).uri(path).extension(peer);
        if let Some(digest) = digest {
            request = request.header(headers::SEGMENT_DIGEST, digest.to_string());
        }
        let response = service.respond(request.body(fabric::full(&b"sealed"[..])).unwrap()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Problem>(&body).ok())
    };
    let core = || Peer::Core(InstanceId::new());
    let refused = async |method: &str, path: String, digest: Option<Digest>| {
        let (status, problem) = ask(method, &path, digest, core()).await;
        let problem = problem.unwrap();
        assert_eq!(status, problem.status);
        (problem.code, problem.field.map(|field| field.to_string()))
    };
    let field = |field: &str| (Code::InvalidField, Some(field.to_owned()));
    let (segments, name) = (format!("/disks/{disk}/segments"), segment(1, 1, 0));
    let right = Some(Digest::of(b"sealed"));

    assert_eq!(refused("PUT", format!("{segments}/{name}"), None).await, field(headers::SEGMENT_DIGEST));
    let other = Some(Digest::of(b"sealeb"));
    assert_eq!(refused("PUT", format!("{segments}/{name}"), other).await, field(headers::SEGMENT_DIGEST));
    assert_eq!(refused("PUT", format!("{segments}/..%2fid"), right).await, field("name"));
    assert_eq!(refused("GET", format!("{segments}/{name}?from=1"), None).await, field("from"));
    assert_eq!(refused("GET", format!("{segments}?most=all"), None).await, field("most"));
    assert_eq!(refused("GET", "/disks/x/space".to_owned(), None).await, field("disk"));
    let gone = refused("GET", format!("/disks/{}/space", protocol::DiskId::new()), None).await;
    assert_eq!(gone.0, Code::NotFound);
    assert_eq!(refused("POST", segments.clone(), None).await.0, Code::NotFound);
    assert_eq!(files_below(&folder.path().join("blobs")).len(), 0);

    // Nodes cannot ask each other; that they may not is no matter of credentials alone.
    let (status, problem) = ask("PUT", &format!("{segments}/{name}"), right, Peer::Node(NodeId::new())).await;
    assert_eq!((status, problem.unwrap().code), (403, Code::Forbidden));
    assert_eq!(ask("PUT", &format!("{segments}/{name}"), right, core()).await, (204, None));
    assert_eq!(files_below(&folder.path().join("blobs")).len(), 1);
}

/// A node's folder that is gone is an error at the other end too, and no lack of segments.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_from_its_node_has_not_lost_anything() {
    let ground = Ground::start().await;
    let node = ground.node("a").await;
    let disk = Arc::new(ground.disk(&node).await);
    disk.put(segment(1, 1, 0), noise(10, 1)).await.unwrap();
    std::fs::remove_dir_all(node.folder.path().join("blobs")).unwrap();
    let error = disk.read(segment(1, 1, 0), None).await.unwrap_err();
    assert!(error.to_string().contains(&node.id.to_string()), "{error}");
    assert!(disk.has(segment(1, 1, 0)).await.is_err());
    let store = Store::on(vec![disk], copies(1)).with_patience(Duration::from_secs(5));
    let refused = store.put_bytes(EPOCH, noise(10, 1)).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 1, left: 0 })), "{refused:?}");
}
