//! What S3 may say instead of doing it, over real HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::aws::AmazonS3Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{noise, segment};
use crate::Engine as _;
use crate::engine::{EngineError, S3, Trouble};

/// A list of nothing.
const EMPTY: &str = "<ListBucketResult><Name>b</Name><Prefix>blobs/</Prefix><KeyCount>0</KeyCount>\
                     <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";

/// What a server says to lists, and to all other requests.
#[derive(Clone, Copy)]
struct Says {
    list: (u16, &'static str),
    others: (u16, &'static str),
}

/// A bucket of a server that says this, and how many requests there were beside lists.
async fn bucket(says: Says) -> (Result<S3, EngineError>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/b", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, says, Arc::clone(&counted)));
        }
    });
    let builder = AmazonS3Builder::new().with_access_key_id("id").with_secret_access_key("secret");
    (S3::with(builder, &url), asked)
}

async fn answer(mut stream: TcpStream, says: Says, asked: Arc<AtomicUsize>) {
    let mut request = Vec::new();
    let head = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if request.len() >= head.len() + 4 + length {
            break head.to_owned();
        }
    };
    assert!(head.contains("\r\nauthorization: aws4-hmac-sha256 "), "{head}");
    let is_list = head.starts_with("get /b?");
    let (status, body) = if is_list { says.list } else { says.others };
    if !is_list {
        asked.fetch_add(1, Ordering::SeqCst);
    }
    let body = if head.starts_with("head ") { "" } else { body };
    let response =
        format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
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
