//! The API as its clients ask it, without a gateway in between: a user, the accounts that are theirs, and questions whose
//! time is taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use fabric::{CallOptions, CoreService, Fabric, Target};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, header};
use protocol::api::{AccountKind, CreateAccount, CreateFunction, Membership, UsageSums};
use protocol::{AccountId, FunctionId, KeyId, RunId, Timestamp, VersionId, headers};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// From the request to the last byte of its response; and how soon it must be taken.
const CALL: CallOptions = CallOptions { deadline: Duration::from_secs(20), accept_within: Duration::from_secs(5) };
/// Between two questions of a client who asks while something is measured.
const ASKS_EVERY: Duration = Duration::from_millis(20);
const FUNCTION: &str = "hello";

/// Calls, and takes the whole response.
pub(super) async fn call(
    fabric: &Fabric,
    to: Target,
    request: Request<fabric::Body>,
) -> anyhow::Result<Response<Bytes>> {
    let reply = Box::pin(fabric.call(to, request, CALL)).await?;
    let (head, body) = reply.response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// A `POST` of JSON.
pub(super) fn post(path: &str, json: impl Into<Bytes>) -> anyhow::Result<Request<fabric::Body>> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    Ok(request.body(fabric::full(json))?)
}

/// An account with a function, and whose key calls it.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    name: String,
    pub(super) account: AccountId,
    pub(super) function: FunctionId,
    /// Versions are not looked at where runs are settled.
    pub(super) version: VersionId,
    pub(super) key: KeyId,
}

/// What is asked of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The newest runs.
    Newest,
    /// Those before a time.
    Before(Timestamp),
    /// Those few that went wrong.
    Rare,
    /// One of them.
    One(RunId),
    /// What they used.
    ByDay,
}

impl Ask {
    fn path(self) -> String {
        match self {
            Self::Newest => "/invocations?limit=50".to_owned(),
            Self::Before(time) => format!("/invocations?limit=50&to={time}"),
            Self::Rare => "/invocations?limit=50&outcome=failed".to_owned(),
            Self::One(run) => format!("/invocations/{run}"),
            Self::ByDay => "/usage?by=day".to_owned(),
        }
    }
}

/// Milliseconds of questions that were asked beside something else.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) newest: Vec<f64>,
    pub(super) others: Vec<f64>,
}

/// A user who is logged in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    fabric: Fabric,
    cookie: String,
}

#[derive(Deserialize)]
struct MadeFunction {
    id: FunctionId,
}

impl Api {
    /// A new user.
    pub(super) async fn sign_up(fabric: Fabric) -> anyhow::Result<Self> {
        let user = serde_json::json!({
            "email": "bench@example.com", "password": "a long enough pass phrase", "account": "bench",
        });
        let request = post("/api/v1/signup", serde_json::to_vec(&user)?)?;
        let answer = call(&fabric, Target::Core(CoreService::ControlPlane), request).await?;
        ensure!(answer.status().is_success(), "sign-up: {}", String::from_utf8_lossy(answer.body()));
        let cookies = answer.headers().get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next());
        let cookie = pairs.find(|pair| pair.starts_with(headers::SESSION_COOKIE));
        let cookie = cookie.context("a sign-up without a session")?.to_owned();
        Ok(Self { fabric, cookie })
    }

    /// Makes so many accounts.
    pub(super) async fn tenants(&self, count: usize) -> anyhow::Result<Vec<Tenant>> {
        let mut tenants = Vec::with_capacity(count);
        for number in 1..=count {
            let name = format!("bench-{number}");
            let account = CreateAccount { name: name.clone(), kind: AccountKind::Personal };
            let made: Membership = serde_json::from_slice(&self.make("/accounts", None, &account).await?)?;
            let function = CreateFunction { name: FUNCTION.to_owned(), public: false };
            let function: MadeFunction =
                serde_json::from_slice(&self.make("/functions", Some(&name), &function).await?)?;
            let (version, key) = (VersionId::new(), KeyId::new());
            tenants.push(Tenant { name, account: made.account.id, function: function.id, version, key });
        }
        Ok(tenants)
    }

    async fn make(&self, path: &str, account: Option<&str>, what: &impl Serialize) -> anyhow::Result<Bytes> {
        let body = fabric::full(serde_json::to_vec(what)?);
        self.send(Method::POST, path, account, body).await
    }

    /// What settled runs of an account's function used.
    pub(super) async fn usage(&self, tenant: &Tenant) -> anyhow::Result<UsageSums> {
        let path = format!("/functions/{FUNCTION}/usage");
        let answer = self.send(Method::GET, &path, Some(&tenant.name), fabric::empty()).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Asks; the response, and after how many milliseconds it was there.
    pub(super) async fn ask(&self, tenant: &Tenant, what: Ask) -> anyhow::Result<(Bytes, f64)> {
        let asked = Instant::now();
        let answer = self.send(Method::GET, &what.path(), Some(&tenant.name), fabric::empty()).await?;
        Ok((answer, asked.elapsed().as_secs_f64() * 1e3))
    }

    /// Asks one account after the other until it is stopped, each second time for its newest runs.
    pub(super) async fn ask_until(self, tenants: Arc<[Tenant]>, stop: CancellationToken) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        for (number, tenant) in tenants.iter().cycle().enumerate() {
            if stop.is_cancelled() {
                break;
            }
            let (what, into) = match number % 4 {
                0 | 2 => (Ask::Newest, &mut heard.newest),
                1 => (Ask::Rare, &mut heard.others),
                _ => (Ask::ByDay, &mut heard.others),
            };
            into.push(self.ask(tenant, what).await?.1);
            tokio::time::sleep(ASKS_EVERY).await;
        }
        heard.newest.sort_by(f64::total_cmp);
        heard.others.sort_by(f64::total_cmp);
        Ok(heard)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        account: Option<&str>,
        body: fabric::Body,
    ) -> anyhow::Result<Bytes> {
        let mut request = Request::builder().method(&method).uri(format!("/api/v1{path}"));
        request = request.header(header::COOKIE, &self.cookie);
        if let Some(account) = account {
            request = request.header(headers::ACCOUNT, account);
        }
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let answer = call(&self.fabric, Target::Core(CoreService::ControlPlane), request.body(body)?).await?;
        let text = || String::from_utf8_lossy(answer.body()).into_owned();
        ensure!(answer.status().is_success(), "{method} {path}: {} {}", answer.status(), text());
        Ok(answer.into_body())
    }
}
