//! The API over HTTP: requests with a credential, answers as types, problems as failures.

use std::time::Duration;

use fabric::{FirstHop, Trust, Trusted};
use protocol::{Problem, headers};
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::authorities::Authorities;
use crate::failure::{Exit, Failure};
use crate::target;

/// How long to wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an API call may take; a deploy waits for the compiler.
const CALL_WITHIN: Duration = Duration::from_secs(120);
/// The longest problem document that is read.
const PROBLEM_MAX: usize = 64 * 1024;

/// The code of an answer that is not the platform's.
pub(crate) const UNEXPECTED_ANSWER: &str = "unexpected_answer";
/// How rustls begins to say that a certificate is not believed.
const FOREIGN: &str = "invalid peer certificate";

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// Nobody yet.
    None,
    /// An API key.
    Key(String),
    /// A log-in, and the account that it acts for.
    Session { cookie: String, account: Option<String> },
}

/// A platform and a credential.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    credential: Credential,
}

impl Client {
    /// No connection is made yet. These authorities are believed beside the public ones.
    pub(crate) fn new(url: &str, credential: Credential, authorities: &Authorities) -> Result<Self, Failure> {
        if authorities.is_empty() {
            return Self::of(reqwest::Client::builder(), url, credential);
        }
        let trust = Trust::beside(authorities.certificates()).map_err(|why| unusable(&why))?;
        trust.trust(Trusted::Public);
        let tls = trust.client_config().map_err(|why| unusable(&why))?;
        Self::of(reqwest::Client::builder().use_preconfigured_tls(tls), url, credential)
    }

    /// Nobody yet, with these settings of TLS, and by this first hop, or as the environment says.
    pub(crate) fn trusting(url: &str, tls: rustls::ClientConfig, hop: Option<&FirstHop>) -> Result<Self, Failure> {
        let builder = reqwest::Client::builder().use_preconfigured_tls(tls);
        let builder = match hop {
            Some(hop) => by(builder, hop)?,
            None => builder,
        };
        Self::of(builder, url, Credential::None)
    }

    fn of(builder: reqwest::ClientBuilder, url: &str, credential: Credential) -> Result<Self, Failure> {
        let mut builder = builder
            .connect_timeout(CONNECT_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("crowdcloud/", env!("CARGO_PKG_VERSION")));
        let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        // A proxy of the environment knows nothing of this machine's own ports.
        if host == "localhost" || host.ends_with(".localhost") || address.is_some_and(|address| address.is_loopback()) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|why| unusable(&why))?;
        Ok(Self { http, url: url.to_owned(), credential })
    }

    /// The same platform, as somebody else.
    pub(crate) fn with(&self, credential: Credential) -> Self {
        Self { credential, ..self.clone() }
    }

    /// The same session, acting for this account.
    pub(crate) fn acting_for(&self, name: &str) -> Self {
        match &self.credential {
            Credential::Session { cookie, .. } => {
                self.with(Credential::Session { cookie: cookie.clone(), account: Some(name.to_owned()) })
            }
            _ => self.clone(),
        }
    }

    /// A request to a path of the platform, with the credential.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let request = self.http.request(method, target::url(&self.url, path)?);
        Ok(match &self.credential {
            Credential::None => request,
            Credential::Key(key) => request.bearer_auth(key),
            Credential::Session { cookie, account } => {
                let request = request.header("cookie", format!("{}={cookie}", headers::SESSION_COOKIE));
                match account {
                    Some(account) => request.header(headers::ACCOUNT, account),
                    None => request,
                }
            }
        })
    }

    /// A request to a path of the API.
    pub(crate) fn api(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        Ok(self.request(method, &format!("/api/v1{path}"))?.timeout(CALL_WITHIN))
    }

    /// Sends, and turns a refusal into a failure.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// `GET`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.api(Method::GET, path)?).await
    }

    /// `POST`, safe to be repeated by whoever carries it.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let request = self.api(Method::POST, path)?.header("idempotency-key", idempotency_key());
        self.read(request.json(body)).await
    }

    /// `PUT` or `PATCH`.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.api(method, path)?.json(body)).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.api(Method::DELETE, path)?).await.map(drop)
    }

    /// Sends, and reads the answer as JSON.
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        let body = response.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(
                Exit::Platform,
                UNEXPECTED_ANSWER,
                format!("{} answered something else than expected", self.url),
            )
            .why(error)
            .help("check that the URL is a CrowdCloud platform's, of a version that fits this command")
        })
    }

    /// No answer, or half of one.
    pub(crate) fn lost(&self, error: &reqwest::Error) -> Failure {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        if error.is_timeout() {
            Failure::new(Exit::Timeout, "timeout", format!("{} did not answer in time", self.url)).why(why)
        } else if error.is_builder() || error.is_request() && error.url().is_none() {
            Failure::usage("The request cannot be sent").why(why)
        } else {
            let help = match why.contains(FOREIGN) {
                true => "where the certificate is the platform's own, or its authority's, name it: --ca-file PEM",
                false => "start the platform with `crowdcloud up`, or name another one with --url",
            };
            Failure::new(Exit::Platform, "connection", format!("{} cannot be reached", self.url)).why(why).help(help)
        }
    }
}

/// By this first hop, whatever the environment says.
fn by(builder: reqwest::ClientBuilder, hop: &FirstHop) -> Result<reqwest::ClientBuilder, Failure> {
    let Some(proxy) = &hop.proxy else {
        let builder = builder.no_proxy();
        return Ok(match hop.addresses.as_slice() {
            [] => builder,
            known => builder.resolve_to_addrs(&hop.host, known),
        });
    };
    let mut through = reqwest::Proxy::all(format!("http://{}", hop.authority())).map_err(|why| unusable(&why))?;
    if let Some(authorization) = &proxy.authorization {
        let authorization = HeaderValue::try_from(authorization.as_str()).map_err(|why| unusable(&why))?;
        through = through.custom_http_auth(authorization);
    }
    Ok(builder.proxy(through))
}

fn unusable(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Platform, "connection", "No HTTP client can be made").why(why)
}

/// The failure that a refusal's body tells.
pub(crate) async fn refused(mut response: Response) -> Failure {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > PROBLEM_MAX {
            break;
        }
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let exit = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Authentication,
                StatusCode::NOT_FOUND => Exit::NotFound,
                StatusCode::CONFLICT => Exit::Conflict,
                _ => Exit::Platform,
            };
            Failure::new(exit, UNEXPECTED_ANSWER, format!("The answer was {status}"))
                .why(String::from_utf8_lossy(&body).chars().take(200).collect::<String>())
        }
    }
}

/// A fresh `Idempotency-Key`.
pub(crate) fn idempotency_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}
