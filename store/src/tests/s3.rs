//! What S3 may say instead of doing it, over real HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use parking_lot::Mutex;
use protocol::StoreId;
use protocol::node::Mark;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{noise, segment};
use crate::engine::{EngineError, S3, Trouble};
use crate::{Engine as _, SegmentName};

/// A list of nothing.
const EMPTY: &str = "<ListBucketResult><Name>b</Name><Prefix>blobs/</Prefix><KeyCount>0</KeyCount>\
                     <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";

/// What a server says to lists, and to all other requests.
#[derive(Clone, Copy)]
struct Says {
    list: (u16, &'static str),
    others: (u16, &'static str),
}

/// What a server says to a request: to its head, in lower case, and its body.
type Service = dyn Fn(&str, &[u8]) -> (u16, String) + Send + Sync;

/// A server with this service; its URL.
async fn serve(service: Arc<Service>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&service)));
        }
    });
    url
}

fn with_keys() -> AmazonS3Builder {
    AmazonS3Builder::new().with_access_key_id("id").with_secret_access_key("secret")
}

/// A bucket of a server that says this, and how many requests there were beside lists.
async fn bucket(says: Says) -> (Result<S3, EngineError>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let url = serve(Arc::new(move |head: &str, _: &[u8]| {
        assert!(head.contains("\r\nauthorization: aws4-hmac-sha256 "), "{head}");
        let is_list = head.starts_with("get /b?");
        let (status, body) = if is_list { says.list } else { says.others };
        if !is_list {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        (status, body.to_owned())
    }))
    .await;
    (S3::with(with_keys(), &format!("{url}/b")), asked)
}

async fn answer(mut stream: TcpStream, service: Arc<Service>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if request.len() >= head.len() + 4 + length {
            break (head.to_owned(), request[head.len() + 4..].to_vec());
        }
    };
    let (status, body) = service(&head, &body);
    let body = if head.starts_with("head ") { "" } else { body.as_str() };
    let length = body.len();
    let response =
        format!("HTTP/1.1 {status} said\r\ncontent-length: {length}\r\netag: \"e\"\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).await.ok();
}

/// An open bucket of a server that says this to all but lists.
async fn that_says(status: u16, body: &'static str) -> (S3, Arc<AtomicUsize>) {
    let (bucket, asked) = bucket(Says { list: (200, EMPTY), others: (status, body) }).await;
    (bucket.unwrap(), asked)
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, body, trouble, tries) in [
        (403, "<Error><Code>AccessDenied</Code></Error>", Trouble::Failed, 1),
        (401, "", Trouble::Failed, 1),
        (403, "<Error><Code>QuotaExceeded</Code></Error>", Trouble::Full, 1),
        (507, "<Error><Code>XMinioStorageFull</Code></Error>", Trouble::Full, 1),
        (503, "<Error><Code>SlowDown</Code></Error>", Trouble::Slow, 4),
        (500, "<Error><Code>InternalError</Code></Error>", Trouble::Failed, 4),
        (404, "<Error><Code>NoSuchBucket</Code></Error>", Trouble::Failed, 1),
    ] {
        let (bucket, asked) = that_says(status, body).await;
        let error = bucket.put(segment(1, 1, 0), noise(10, 1)).await.unwrap_err();
        assert_eq!((error.verb, error.trouble), ("put", trouble), "{status} {body}: {error}");
        assert_eq!(asked.load(Ordering::SeqCst), tries, "{status} {body}");
        let error = bucket.read(segment(1, 1, 0), None).await.unwrap_err();
        assert_eq!(error.trouble, trouble, "{status} {body}: {error}");
    }
}

/// A bucket that is gone, or is another one's, must not look like one without blobs.
#[tokio::test]
async fn a_missing_key_is_nothing_and_a_missing_bucket_is_an_error() {
    let name = segment(1, 1, 0);
    let (there, _) = that_says(404, "<Error><Code>NoSuchKey</Code></Error>").await;
    assert_eq!(there.read(name, None).await.unwrap(), None);
    assert_eq!(there.read(name, Some(5..9)).await.unwrap(), None);
    assert_eq!(there.has(name).await.unwrap(), None);
    there.delete(name).await.unwrap();

    let gone = (404, "<Error><Code>NoSuchBucket</Code></Error>");
    let (bucket, _) = bucket(Says { list: gone, others: gone }).await;
    let error = bucket.unwrap().mark().await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Failed, "{error}");
    let (bucket, _) = that_says(gone.0, gone.1).await;
    assert!(bucket.read(name, Some(5..9)).await.is_err());
    assert!(bucket.delete(name).await.is_err());
}

#[tokio::test]
async fn no_secret_of_a_url_is_said_again() {
    let error = S3::with(AmazonS3Builder::new(), "https://key:secret@s3.example.org/b").err().unwrap();
    assert!(
        error.to_string().contains("AWS_SECRET_ACCESS_KEY") && !error.to_string().contains("key:secret"),
        "{error}"
    );
}

/// A page of a list with these keys, whatever was asked for.
fn page(keys: &[String]) -> (u16, String) {
    let objects = keys.iter().map(|key| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"e\"</ETag><Size>7</Size></Contents>"
        )
    });
    (200, EMPTY.replace("</ListBucketResult>", &format!("{}</ListBucketResult>", objects.collect::<String>())))
}

fn names(listed: &[crate::Listed]) -> Vec<SegmentName> {
    listed.iter().map(|listed| listed.name).collect()
}

/// Whoever goes through its pages would see the first one for ever.
#[tokio::test]
async fn a_service_that_gives_a_page_again_is_an_error() {
    let (one, two) = (segment(1, 1, 0), segment(1, 1, 1));
    let url = serve(Arc::new(move |_: &str, _: &[u8]| page(&[one, two].map(|name| format!("blobs/{name}"))))).await;
    let bucket = S3::with(with_keys(), &format!("{url}/b")).unwrap();
    assert_eq!(names(&bucket.list(None, 10).await.unwrap()), [one, two]);
    for after in [one, two, segment(2, 1, 0)] {
        let error = bucket.list(Some(after), 10).await.unwrap_err();
        assert_eq!(error.verb, "list", "{error}");
    }
    let back = serve(Arc::new(move |_: &str, _: &[u8]| page(&[two, one].map(|name| format!("blobs/{name}"))))).await;
    assert!(S3::with(with_keys(), &format!("{back}/b")).unwrap().list(None, 10).await.is_err());
}

/// `https://HOST/b` beside `https://HOST/b/blobs`.
#[tokio::test]
async fn segments_of_an_engine_below_are_passed_over() {
    let (mine, below, last) = (segment(1, 1, 0), segment(1, 2, 0), segment(u32::MAX, 1, 0));
    let keys = [format!("blobs/{mine}"), format!("blobs/blobs/{below}"), format!("blobs/{last}")];
    let url = serve(Arc::new(move |_: &str, _: &[u8]| page(&keys))).await;
    let bucket = S3::with(with_keys(), &format!("{url}/b")).unwrap();
    assert_eq!(names(&bucket.list(None, 10).await.unwrap()), [mine, last]);
}

/// A service that has no conditional puts, and says so in this way.
async fn without_conditions(refusal: u16) -> S3 {
    let objects = Mutex::new(BTreeMap::<String, String>::new());
    let url = serve(Arc::new(move |head: &str, body: &[u8]| {
        let key = head.split(' ').nth(1).unwrap().to_owned();
        if head.starts_with("get /b?") {
            return (200, EMPTY.to_owned());
        }
        if head.contains("\r\nif-none-match:") {
            return (refusal, "<Error><Code>NotImplemented</Code></Error>".to_owned());
        }
        let mut objects = objects.lock();
        if head.starts_with("put ") {
            objects.insert(key, String::from_utf8(body.to_vec()).unwrap());
            return (200, String::new());
        }
        let missing = || (404, "<Error><Code>NoSuchKey</Code></Error>".to_owned());
        objects.get(&key).map_or_else(missing, |object| (200, object.clone()))
    }))
    .await;
    S3::with(with_keys(), &format!("{url}/b")).unwrap()
}

#[tokio::test]
async fn services_without_conditional_puts_are_marked() {
    for refusal in [409, 412, 501] {
        let (bucket, mine) = (without_conditions(refusal).await, Mark::new(StoreId::new()));
        assert_eq!(bucket.mark().await.unwrap(), None);
        assert_eq!(bucket.set_mark(mine).await.unwrap(), mine);
        assert_eq!(bucket.set_mark(Mark::new(StoreId::new())).await.unwrap(), mine, "the first one stays");
        assert_eq!(bucket.mark().await.unwrap(), Some(mine));
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let mark = format!("{}\n{}", StoreId::new(), " ".repeat(256));
    let marked = serve(Arc::new(move |_: &str, _: &[u8]| (200, mark.clone()))).await;
    let error = S3::with(with_keys(), &format!("{marked}/b")).unwrap().mark().await.unwrap_err();
    assert!(error.to_string().contains("256 at most"), "{error}");

    let most = crate::sealing::SEALED_SIZE_MAX;
    for (size, fits) in [(most, true), (most + 1, false)] {
        let url = serve(Arc::new(move |_: &str, _: &[u8]| (200, "a".repeat(size)))).await;
        let bucket = S3::with(with_keys(), &format!("{url}/b")).unwrap();
        let read = bucket.read(segment(1, 1, 0), None).await;
        assert_eq!(read.is_ok(), fits, "{size}: {:?}", read.map(|read| read.map(|read| read.len())));
    }
    // Neither is a list that does not end.
    let endless = serve(Arc::new(move |_: &str, _: &[u8]| (200, format!("{EMPTY}{}", " ".repeat(9 << 20))))).await;
    assert!(S3::with(with_keys(), &format!("{endless}/b")).unwrap().list(None, 1).await.is_err());
}

#[tokio::test]
async fn of_a_refusal_one_word_is_said_again() {
    let said = format!("<Error><Code>Odd{}\n[INFO] all is well</Code></Error>", "x".repeat(1_000));
    let url = serve(Arc::new(move |_: &str, _: &[u8]| (400, said.clone()))).await;
    let bucket = S3::with(with_keys(), &format!("{url}/b")).unwrap();
    let error = bucket.put(segment(1, 1, 0), noise(10, 1)).await.unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(text.contains(&format!("Odd{}", "x".repeat(61))), "{text}");
    assert!(!text.contains(&"x".repeat(62)) && !text.contains("INFO"), "{text}");
}

/// Neither the bucket nor those who hand out credentials are asked without TLS, but where the store's own URL says so.
#[tokio::test]
async fn http_is_for_urls_that_say_so() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let url = serve(Arc::new(move |_: &str, _: &[u8]| {
        counted.fetch_add(1, Ordering::SeqCst);
        (200, String::new())
    }))
    .await;
    let builder = with_keys().with_endpoint(&url).with_allow_http(true);
    let error = S3::with(builder, "s3://b").err().unwrap();
    assert!(error.to_string().contains("TLS"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "token").unwrap();
    let builder = AmazonS3Builder::new()
        .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token.to_str().unwrap())
        .with_config(AmazonS3ConfigKey::RoleArn, "arn:aws:iam::1:role/a")
        .with_config(AmazonS3ConfigKey::StsEndpoint, &url);
    let bucket = S3::with(builder, &format!("{url}/b")).unwrap();
    assert!(bucket.put(segment(1, 1, 0), noise(10, 1)).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn half_of_credentials_is_refused() {
    for builder in [AmazonS3Builder::new(), AmazonS3Builder::new().with_access_key_id("id")] {
        let error = S3::with(builder, "https://s3.example.org/b").err().unwrap();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    }
}
