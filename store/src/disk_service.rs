//! A node's side of the `node` engine: its disks, served over the fabric. It is no lane: it needs no hello, and neither a
//! pause nor a drain of runs ends it.
//!
//! | request | response |
//! | --- | --- |
//! | `PUT /disks/{disk}/segments/{name}` | once it is durable |
//! | `GET /disks/{disk}/segments/{name}?from=&to=` | the bytes as they are kept, or of a range of them; 204 where there is none |
//! | `HEAD /disks/{disk}/segments/{name}` | its size; 204 where there is none |
//! | `DELETE /disks/{disk}/segments/{name}` | |
//! | `GET /disks/{disk}/segments?after=&most=` | names and sizes, in order |
//! | `GET /disks/{disk}/space` | |
//! | `GET /disks/{disk}/mark` | whose segments it has |
//! | `PUT /disks/{disk}/mark?store=&disk=` | the same, after it has been marked unless it was |
//!
//! The core alone can ask: nobody else may publish where a node listens (`fabric/src/subjects.rs`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric::{Body, Fabric, FabricError, Mount, NodeEndpoint, Peer, ServeOptions, Serving};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use protocol::node::{DISKS_MAX, DiskMark, DiskSegment, DiskSpace, Mark, StoreDisk};
use protocol::{ByteSize, Code, Digest, DiskId, Problem, headers};
use serde_json::json;

use crate::Engine as _;
use crate::disk_calls::{DiskCall, DiskCalls};
use crate::engine::{Disk, EngineError};

/// The body of a request or of a response: a segment as it is kept, or a page of names.
pub(crate) const BODY_BYTES_MAX: usize = (4 << 20) + (64 << 10);
/// Names of one page.
pub(crate) const LIST_MAX: usize = 8192;
/// Requests at once, of all who ask: with their segments, the memory of this role. More are told that it is busy.
const REQUESTS_MAX: usize = 16;
/// How long a disk may take: the core's patience is longer.
const WITHIN: Duration = Duration::from_secs(15);
/// The same, for a page of names, for which it is scanned.
const LIST_WITHIN: Duration = Duration::from_secs(180);
/// The trouble of a disk that does as much as it may, and is asked again.
pub(crate) const BUSY: &str = "busy";
/// In a disk's folder: which disk it is. It is locked as long as it is served.
const ID_FILE: &str = "disk-id";

/// A disk cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The folder cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The folder's mark cannot be used.
    #[error("{}: {why}", .file.display())]
    Mark { file: PathBuf, why: io::Error },
    /// Somebody else has it.
    #[error("{}: another process serves this disk", .file.display())]
    Held { file: PathBuf },
    /// Another disk was here, or nothing is mounted.
    #[error(
        "{}: {id}, which was here, is not: mount it, or, where an empty disk is to take its place, start once with \
         `--store-dir-new {}`", .folder.display(), .folder.display()
    )]
    NotThere { folder: PathBuf, id: DiskId },
    /// There are more than a node may have.
    #[error("a node serves at most {most} disks", most = DISKS_MAX)]
    TooMany,
}

/// A folder that is to be served as a disk.
#[derive(Debug, Clone)]
pub struct DiskFolder {
    /// Which.
    pub path: PathBuf,
    /// Which disk it was when it was served last.
    pub known: Option<StoreDisk>,
    /// It may be another one now.
    pub may_be_new: bool,
}

/// The disks that a node serves. Cheap to clone.
#[derive(Clone)]
pub struct DiskService {
    disks: Arc<BTreeMap<DiskId, Served>>,
    /// Those that it should serve, and cannot, and why.
    failing: Arc<BTreeMap<DiskId, (StoreDisk, String)>>,
}

struct Served {
    disk: Arc<Disk>,
    calls: DiskCalls,
    folder: PathBuf,
    /// Held: two that serve one folder would count as two copies.
    _mark: File,
}

impl DiskService {
    /// Opens these folders, and makes those that are missing. Their failure domains are the machine with the device, or what
    /// is said here; what begins with `/` comes behind machine and device.
    ///
    /// # Errors
    /// When a folder cannot be used, or another process serves it.
    pub fn open(folders: &[PathBuf], domain: Option<&str>) -> Result<Self, DiskError> {
        let folders = folders.iter().map(|path| DiskFolder { path: path.clone(), known: None, may_be_new: true });
        let (disks, failed) = Self::open_each(folders.collect(), domain)?;
        failed.into_iter().next().map_or(Ok(disks), Err)
    }

    /// The same, each by itself: why some cannot be served is given beside the others. What is known of such a disk is told
    /// all the same, so that what it has is not taken for lost.
    ///
    /// # Errors
    /// When there are too many, or another process serves one.
    pub fn open_each(folders: Vec<DiskFolder>, domain: Option<&str>) -> Result<(Self, Vec<DiskError>), DiskError> {
        if folders.len() > DISKS_MAX {
            return Err(DiskError::TooMany);
        }
        let (mut disks, mut failing, mut failed) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for folder in folders {
            match open(&folder, domain) {
                Ok((id, served)) => drop(disks.insert(id, served)),
                Err(error @ DiskError::Held { .. }) => return Err(error),
                Err(error) => {
                    if let Some(known) = folder.known {
                        failing.insert(known.id, (known, error.to_string()));
                    }
                    failed.push(error);
                }
            }
        }
        // It may be in another folder now.
        failing.retain(|id, _| !disks.contains_key(id));
        Ok((Self { disks: Arc::new(disks), failing: Arc::new(failing) }, failed))
    }

    /// What the node tells of them.
    #[must_use]
    pub fn told(&self) -> Vec<StoreDisk> {
        let served = self.disks.iter().map(|(id, served)| served.told(*id));
        served.chain(self.failing.values().map(|(known, _)| known.clone())).collect()
    }

    /// Those that are served, by their folders.
    pub fn folders(&self) -> impl Iterator<Item = (&Path, StoreDisk)> {
        self.disks.iter().map(|(id, served)| (served.folder.as_path(), served.told(*id)))
    }

    /// Serves them as the node that this fabric is of, over a connection of their own.
    ///
    /// # Errors
    /// When the fabric is no node's, or the server cannot be reached.
    pub async fn mount(self, fabric: &Fabric) -> Result<Serving, FabricError> {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let disks = self.clone();
            async move { Ok::<_, Infallible>(disks.respond(request).await) }
        });
        let options = ServeOptions { admit: None, concurrency: Some(REQUESTS_MAX) };
        fabric.of_disks().await?.serve(Mount::OnNode(NodeEndpoint::Store), service, options).await
    }

    /// Does what is asked.
    pub async fn respond(&self, request: http::Request<Body>) -> http::Response<Body> {
        match self.serve(request).await {
            Ok(response) => response,
            Err(Refused::Request(problem)) => refusal(&problem, None),
            Err(Refused::Busy) => {
                let problem = Problem::new(Code::StorageUnavailable, "This disk does as much as it may.");
                refusal(&problem, Some(BUSY))
            }
            Err(Refused::Disk(error)) => {
                tracing::warn!(%error, "a disk of this node fails");
                let problem = Problem::new(Code::StorageUnavailable, error.to_string());
                refusal(&problem, Some(error.trouble.name()))
            }
        }
    }

    async fn serve(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Refused> {
        let (head, body) = request.into_parts();
        if !matches!(head.extensions.get::<Peer>(), Some(Peer::Core(_))) {
            return Err(Problem::new(Code::Forbidden, "The platform alone asks for segments.").into());
        }
        let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        let ["disks", id, rest @ ..] = path.as_slice() else { return Err(not_found().into()) };
        let served = self.disk(id)?;
        let disk = Arc::clone(&served.disk);
        let call = served.calls.begin().ok_or(Refused::Busy)?;
        let query = head.uri.query().unwrap_or_default();
        match (head.method.as_str(), rest) {
            ("PUT", ["segments", name]) => {
                let segment = received(&head.headers, body).await?;
                let name = parsed("name", name)?;
                done(call, served, "put", async move { disk.put(name, segment).await }).await?;
                Ok(nothing())
            }
            ("GET", ["segments", name]) => {
                let (name, range) = (parsed("name", name)?, range(query)?);
                let read = done(call, served, "read", async move { disk.read(name, range).await }).await?;
                Ok(read.map_or_else(nothing, sent))
            }
            ("HEAD", ["segments", name]) => {
                let name = parsed("name", name)?;
                let size = done(call, served, "find", async move { disk.has(name).await }).await?;
                Ok(size.map_or_else(nothing, |size| {
                    let mut response = http::Response::new(fabric::empty());
                    response.headers_mut().insert(headers::SEGMENT_SIZE, HeaderValue::from(size));
                    response
                }))
            }
            ("DELETE", ["segments", name]) => {
                let name = parsed("name", name)?;
                done(call, served, "delete", async move { disk.delete(name).await }).await?;
                Ok(nothing())
            }
            ("GET", ["segments"]) => {
                let after = value(query, "after").map(|after| parsed("after", after)).transpose()?;
                let most: usize = value(query, "most").map_or(Ok(LIST_MAX), |most| parsed("most", most))?;
                let list = async move { disk.list(after, most.min(LIST_MAX)).await };
                let listed = call.within(LIST_WITHIN, served.disk.name(), "list", list).await?;
                let listed = listed.into_iter().map(|listed| DiskSegment {
                    blob: listed.name.blob,
                    number: listed.name.number,
                    size: ByteSize(listed.bytes),
                });
                Ok(as_json(&json!(listed.collect::<Vec<_>>())))
            }
            ("GET", ["space"]) => {
                let space = done(call, served, "measure", async move { disk.space().await }).await?;
                let space = DiskSpace { free: ByteSize(space.free), total: ByteSize(space.total) };
                Ok(as_json(&json!(space)))
            }
            ("GET", ["mark"]) => {
                let mark = done(call, served, "say whose it is", async move { disk.mark().await }).await?;
                Ok(as_json(&json!(DiskMark { mark })))
            }
            ("PUT", ["mark"]) => {
                let store = parsed("store", value(query, "store").unwrap_or_default())?;
                let place = value(query, "disk").map(|id| parsed("disk", id)).transpose()?;
                let marked = async move { disk.set_mark(Mark { store, disk: place }).await };
                let mark = Some(done(call, served, "be marked", marked).await?);
                Ok(as_json(&json!(DiskMark { mark })))
            }
            _ => Err(not_found().into()),
        }
    }

    fn disk(&self, id: &str) -> Result<&Served, Refused> {
        let id: DiskId = parsed("disk", id)?;
        if let Some((_, why)) = self.failing.get(&id) {
            return Err(Problem::new(Code::StorageUnavailable, why.clone()).into());
        }
        let served = self.disks.get(&id);
        served.ok_or_else(|| Problem::new(Code::NotFound, format!("This node does not have {id} any more.")).into())
    }
}

impl Served {
    fn told(&self, id: DiskId) -> StoreDisk {
        StoreDisk { id, domain: self.disk.domain().to_owned() }
    }
}

fn open(folder: &DiskFolder, domain: Option<&str>) -> Result<(DiskId, Served), DiskError> {
    let file = folder.path.join(ID_FILE);
    // Before anything is made there.
    if let Some(known) = folder.known.as_ref().filter(|_| !folder.may_be_new) {
        let is_new = match std::fs::read_to_string(&file) {
            Ok(text) => text.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_new {
            return Err(DiskError::NotThere { folder: folder.path.clone(), id: known.id });
        }
    }
    let disk = Disk::open(&folder.path)?;
    let disk = match domain {
        Some(part) if part.starts_with('/') => {
            let domain = format!("{}{part}", disk.domain());
            disk.in_domain(domain)
        }
        Some(domain) => disk.in_domain(domain),
        None => disk,
    };
    let (id, mark) = marked(&file)?;
    Ok((id, Served { disk: Arc::new(disk), calls: DiskCalls::new(), folder: folder.path.clone(), _mark: mark }))
}

/// Why nothing was done.
enum Refused {
    Request(Box<Problem>),
    Busy,
    Disk(EngineError),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Request(Box::new(problem))
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Disk(error)
    }
}

/// What a disk has done, in the time that it has for a segment.
async fn done<T: Send + 'static>(
    call: DiskCall,
    served: &Served,
    verb: &'static str,
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    call.within(WITHIN, served.disk.name(), verb, work).await
}

/// Which disk the folder is; an empty one becomes a new one. The file is locked as long as it is open.
fn marked(file: &Path) -> Result<(DiskId, File), DiskError> {
    let failed = |why| DiskError::Mark { file: file.to_owned(), why };
    let mark = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file).map_err(failed)?;
    match mark.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DiskError::Held { file: file.to_owned() }),
        Err(TryLockError::Error(why)) => return Err(failed(why)),
    }
    let id = identified(file, &mark).map_err(failed)?;
    Ok((id, mark))
}

fn identified(file: &Path, mut mark: &File) -> io::Result<DiskId> {
    let mut text = String::new();
    mark.read_to_string(&mut text)?;
    if !text.is_empty() {
        let id = text.trim().parse::<DiskId>();
        return id.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let id = DiskId::new();
    mark.write_all(format!("{id}\n").as_bytes())?;
    mark.sync_all()?;
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(id)
}

/// A segment that has come whole.
async fn received(head: &http::HeaderMap, body: Body) -> Result<Bytes, Refused> {
    let said = head.get(headers::SEGMENT_DIGEST).and_then(|digest| digest.to_str().ok());
    let said: Digest = parsed(headers::SEGMENT_DIGEST, said.unwrap_or_default())?;
    let segment = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let segment = segment.map_err(|error| Problem::new(Code::InvalidRequest, error.to_string()))?.to_bytes();
    if Digest::of(&segment) != said {
        let detail = "The segment is not the one that was sent.";
        return Err(Problem::of(Code::InvalidField, headers::SEGMENT_DIGEST, detail).into());
    }
    Ok(segment)
}

/// A segment, or some of it.
fn sent(bytes: Bytes) -> http::Response<Body> {
    let digest = HeaderValue::from_str(&Digest::of(&bytes).to_string());
    let mut response = http::Response::new(fabric::full(bytes));
    if let Ok(digest) = digest {
        response.headers_mut().insert(headers::SEGMENT_DIGEST, digest);
    }
    response
}

/// The value of a key of the query. What these are needs no escapes.
fn value<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

fn range(query: &str) -> Result<Option<Range<u64>>, Refused> {
    match (value(query, "from"), value(query, "to")) {
        (Some(from), Some(to)) => Ok(Some(parsed("from", from)?..parsed("to", to)?)),
        (None, None) => Ok(None),
        _ => Err(Problem::of(Code::InvalidField, "from", "A range has both ends.").into()),
    }
}

fn parsed<T: FromStr>(field: &'static str, text: &str) -> Result<T, Refused> {
    let why = || Problem::of(Code::InvalidField, field, format!("{text:?} cannot be read as `{field}`"));
    text.parse().map_err(|_| why().into())
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "A node's disk has /segments, /space and /mark")
}

fn nothing() -> http::Response<Body> {
    let mut response = http::Response::new(fabric::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn as_json(value: &serde_json::Value) -> http::Response<Body> {
    let mut response = http::Response::new(fabric::full(value.to_string()));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refusal(problem: &Problem, trouble: Option<&'static str>) -> http::Response<Body> {
    let mut response = http::Response::new(fabric::full(problem.to_json()));
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers_out = response.headers_mut();
    headers_out.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    if let Some(trouble) = trouble {
        headers_out.insert(headers::DISK_TROUBLE, HeaderValue::from_static(trouble));
    }
    response
}
