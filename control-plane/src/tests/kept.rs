//! What the store keeps of an account: counted by what refers to it, bounded, and free again once nothing does.

use http::{Method, StatusCode};
use protocol::api::{Kept, KeptBy};
use protocol::job::Job;
use protocol::{AccountId, Blob, ByteSize, Code, Digest, Problem};
use serde_json::{Value, json};

use super::harness::{Answer, Client, Ground, suite, version_of};
use super::settlement::later;
use super::usage::report;
use crate::db::columns::Col;
use crate::functions::artifacts;
use crate::objects;

suite!(
    what_is_kept_has_a_limit,
    the_same_bytes_again_count_once,
    jobs_count_until_they_are_forgotten,
    uploads_that_nothing_needs_go,
);

const DAY: i64 = 86_400;
/// What [`Ground::function`] deploys.
const ARTIFACT: u64 = b"an artifact".len() as u64;

/// Uploads as gateways do.
struct Uploader<'a> {
    ground: &'a Ground,
    core: Client,
    account: AccountId,
}

impl<'a> Uploader<'a> {
    async fn of(ground: &'a Ground, client: &Client) -> Self {
        Self { ground, core: ground.anonymous(), account: client.account().await }
    }

    async fn begin(&self, least: u64, most: u64) -> Answer {
        let asked = json!({"account": self.account, "least": ByteSize(least), "most": ByteSize(most)});
        self.core.send(Method::POST, "/internal/uploads", Some(asked)).await
    }

    /// How many bytes are set aside.
    async fn granted(&self, least: u64, most: u64) -> u64 {
        let answer = self.begin(least, most).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.read::<Value>()["granted"].as_str().unwrap().parse().unwrap()
    }

    async fn settle(&self, granted: u64, used: u64) {
        let settled = json!({"account": self.account, "granted": ByteSize(granted), "used": ByteSize(used)});
        let answer = self.core.send(Method::POST, "/internal/uploads/settle", Some(settled)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    }

    async fn upload(&self, bytes: Vec<u8>) -> Blob {
        let size = bytes.len() as u64;
        assert_eq!(self.granted(size, size).await, size);
        let (_writing, blob) = self.ground.put(bytes).await;
        let artifact = json!({"account": self.account, "blob": blob});
        let indexed = self.core.send(Method::POST, "/internal/artifacts", Some(artifact)).await;
        assert_eq!(indexed.status, StatusCode::NO_CONTENT, "{indexed:?}");
        self.settle(size, size).await;
        blob
    }

    /// Nothing is left for so many bytes more.
    async fn is_refused(&self, bytes: u64) {
        let problem: Problem = self.begin(bytes, bytes).await.read();
        assert_eq!((problem.code, problem.status), (Code::StorageFull, 507), "{problem:?}");
        assert_eq!(problem.field.unwrap().as_str(), "$");
    }

    async fn counted(&self) -> KeptBy {
        objects::kept(self.ground.app.db.read(), self.account).await.unwrap()
    }
}

async fn narrow(ground: &Ground, most: u64) -> Ground {
    Ground::on(ground.app.config.database.clone(), |config| config.account_kept_max = ByteSize(most)).await
}

async fn shown(client: &Client) -> Kept {
    report(client, "by=function").await.kept.unwrap()
}

async fn deploy(client: &Client, function: &str, artifact: Digest) {
    assert_eq!(client.post("/functions", json!({"name": function})).await.status, StatusCode::CREATED);
    let made = client.post(&format!("/functions/{function}/versions"), version_of(artifact)).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{made:?}");
}

async fn what_is_kept_has_a_limit(ground: Ground) {
    let ground = narrow(&ground, 1000).await;
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    ground.function(&ada, "hello").await;
    let functions = KeptBy { functions: ByteSize(ARTIFACT), ..KeptBy::NONE };
    assert_eq!(shown(&ada).await, Kept { bytes: ByteSize(ARTIFACT), limit: ByteSize(1000), by: functions });
    assert_eq!(report(&ada, "by=function&function=hello").await.kept, None, "it is the account's");

    let uploader = Uploader::of(&ground, &ada).await;
    let large = uploader.upload(vec![7; 900]).await;
    assert_eq!(uploader.counted().await, KeptBy { uploads: ByteSize(900), ..functions });
    uploader.is_refused(100).await;
    let left = 1000 - 900 - ARTIFACT;
    assert_eq!(uploader.granted(1, u64::MAX).await, left, "of unknown length: what is left");
    uploader.is_refused(1).await;
    assert_eq!(Uploader::of(&ground, &eve).await.granted(900, 900).await, 900, "another account has its own");
    // It broke off, and nothing is kept of it.
    uploader.settle(left, 0).await;
    let job = ada.post("/jobs", json!({"function": "hello"})).await;
    assert_eq!(job.status, StatusCode::ACCEPTED, "{job:?}");

    // What is deleted makes room at once, and takes it again when it is restored.
    deploy(&ada, "large", large.digest).await;
    assert_eq!(uploader.counted().await, KeptBy { functions: ByteSize(ARTIFACT + 900), ..KeptBy::NONE });
    uploader.is_refused(100).await;
    assert_eq!(ada.delete("/functions/large").await.status, StatusCode::NO_CONTENT);
    assert_eq!(uploader.granted(900, 900).await, 900);
    uploader.settle(900, 0).await;
    assert_eq!(shown(&ada).await.by, KeptBy { deleted: ByteSize(900), ..functions });
    let restored = ada.raw(Method::POST, "/api/v1/functions/large/restore", Vec::new()).await;
    assert!(restored.status.is_success(), "{restored:?}");
    uploader.is_refused(100).await;

    // Where nothing at all is left, no job is taken either.
    let full = narrow(&ground, ARTIFACT + 900).await;
    let ada = ada.on(full.router.clone());
    let problem: Problem = ada.post("/jobs", json!({"function": "hello"})).await.read();
    assert_eq!((problem.code, problem.status), (Code::StorageFull, 507), "{problem:?}");
    ada.delete("/functions/large").await;
    assert_eq!(ada.post("/jobs", json!({"function": "hello"})).await.status, StatusCode::ACCEPTED);
}

async fn the_same_bytes_again_count_once(ground: Ground) {
    let ground = narrow(&ground, 1000).await;
    let ada = ground.user("ada@example.org", "ada").await;
    let uploader = Uploader::of(&ground, &ada).await;
    for _ in 0..2 {
        uploader.upload(vec![7; 450]).await;
    }
    assert_eq!(uploader.counted().await.uploads, ByteSize(450));
    assert_eq!(uploader.granted(1, u64::MAX).await, 550);
}

async fn jobs_count_until_they_are_forgotten(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let uploader = Uploader::of(&ground, &ada).await;
    let large = json!({"function": "hello", "input": {"text": "x".repeat(100_000)}});
    let job: Job = ada.post("/jobs", large.clone()).await.read();
    assert_eq!(uploader.counted().await.jobs, ByteSize(100_000));

    let full = narrow(&ground, 150_000).await;
    let problem: Problem = ada.on(full.router.clone()).post("/jobs", large).await.read();
    assert_eq!((problem.code, problem.field.unwrap().as_str()), (Code::StorageFull, "input"));
    crate::jobs::forget(&ground.app, vec![Col(job.id)]).await.unwrap();
    assert_eq!(uploader.counted().await.jobs, ByteSize(0));
}

async fn uploads_that_nothing_needs_go(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let uploader = Uploader::of(&ground, &ada).await;
    let (input, fired) = (uploader.upload(vec![1; 100]).await.digest, uploader.upload(vec![2; 30]).await.digest);
    let job = |digest: Digest| json!({"function": "hello", "input": {"upload": digest}});
    assert_eq!(ada.post("/jobs", job(input)).await.status, StatusCode::ACCEPTED);
    let trigger = json!({"cron": "*/5 * * * *", "zone": "Europe/Berlin", "job": job(fired)});
    let set = ada.put("/triggers/often", trigger).await;
    assert!(set.status.is_success(), "{set:?}");
    let functions = ByteSize(ARTIFACT);
    assert_eq!(uploader.counted().await, KeptBy { functions, uploads: ByteSize(130), ..KeptBy::NONE });

    let prune = async |days: i64| {
        let (db, config) = (&ground.app.db, &ground.app.config);
        artifacts::prune(db, config, later(days * DAY)).await.unwrap()
    };
    assert_eq!(prune(29).await, 0);
    assert_eq!(prune(31).await, 1);
    let wanted = KeptBy { functions, uploads: ByteSize(30), jobs: ByteSize(100), ..KeptBy::NONE };
    assert_eq!(uploader.counted().await, wanted, "the job has its input itself");
    assert_eq!(ada.post("/jobs", job(input)).await.code(), Code::ArtifactNotFound);
    assert_eq!(ada.delete("/triggers/often").await.status, StatusCode::NO_CONTENT);
    assert_eq!(prune(31).await, 1);
    assert_eq!(prune(31).await, 0, "a version is made of what is left");
}
