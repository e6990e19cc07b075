//! One request: refused for its form, or handed to whom it is for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use protocol::route::Scope;
use protocol::{Code, Digest, Problem};

use crate::address::{Destination, destination};
use crate::headers::{Forward, head_size, is_framed_plainly, wants_upgrade};
use crate::hosts::{self, is_host};
use crate::linger::Lingering;
use crate::proxies::{CameFrom, came_from};
use crate::response::{Response, full, refuse};
use crate::run::{self, Call, Caller};
use crate::state::Gateway;
use crate::test_call::Origin;
use crate::upload::Source;
use crate::{api, artifacts, connect_node, meters, portal, relief, test_call};

/// No method that anybody uses is longer; it is kept with each run.
pub(crate) const METHOD_LENGTH_MAX: usize = 32;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: IpAddr,
    pub(crate) local: IpAddr,
    /// The key in the certificate that the gateway has shown; none where the connection is plain HTTP.
    pub(crate) certificate: Option<Digest>,
}

/// Answers one request of a connection.
pub(crate) async fn handle(gateway: Arc<Gateway>, ends: Ends, request: http::Request<Incoming>) -> Response {
    let received = Instant::now();
    let (head, body) = request.into_parts();
    let body = match body.is_end_stream() {
        // Allocates nothing.
        true => fabric::empty(),
        false => Source::new(Lingering::new(body, head.headers.contains_key(header::EXPECT))),
    };
    gateway.meters.in_flight.increment(1.0);
    let _in_flight = InFlight(Arc::clone(&gateway));
    let (from, destination) = match check(&gateway, &head, ends) {
        Ok(found) => found,
        Err(problem) => {
            gateway.meters.answered(Some(problem.code));
            let mut answer = refuse(&problem);
            if !is_framed_plainly(&head.headers) {
                // Where this request ends is unsure.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            return answer;
        }
    };
    let CameFrom { client, host, proto } = from;
    if let Err(problem) = check_size(&gateway, &head) {
        gateway.meters.answered(Some(problem.code));
        let mut answer = refuse(&problem);
        let domain = &gateway.config.functions_domain;
        relief::relieve(answer.headers_mut(), &head, &host, proto, &destination, domain);
        return answer;
    }
    let answered = match destination {
        Destination::Function(address) => {
            // A run counts itself.
            let caller = Caller::Headers;
            let call = Call { address, head, body, client, host, proto, received, caller };
            return Box::pin(run::respond(&gateway, call)).await;
        }
        Destination::Api => {
            let forward = Forward { client, host: &host, proto, prefix: "" };
            Box::pin(api::proxy(&gateway, head, body, &forward, ends.certificate)).await
        }
        Destination::Artifacts => Box::pin(artifacts::upload(&gateway, &head, body, &host, Scope::Deploy)).await,
        Destination::Uploads => Box::pin(artifacts::upload(&gateway, &head, body, &host, Scope::Invoke)).await,
        Destination::Test(function) => {
            let from = Origin { client, host: &host, proto };
            Box::pin(test_call::call(&gateway, function, &head, body, &from)).await
        }
        Destination::Fabric => Box::pin(connect_node::connect_node(&gateway, head)).await,
        Destination::Health => Ok(full(StatusCode::OK, "text/plain", "ok\n")),
        Destination::Ready => Ok(readiness(&gateway)),
        Destination::Metrics => Ok(figures()),
        Destination::InstallScript => Box::pin(gateway.installer.script(&head, proto, &host)).await,
        Destination::Program => Box::pin(gateway.installer.program(&head, client)).await,
        Destination::Portal => portal::answer(&head),
    };
    gateway.meters.answered(answered.as_ref().err().map(|problem| problem.code));
    answered.unwrap_or_else(|problem| refuse(&problem))
}

/// Where the request comes from and goes to; refuses what no part of the platform accepts.
fn check(gateway: &Gateway, head: &Parts, ends: Ends) -> Result<(CameFrom, Destination), Problem> {
    let config = &gateway.config;
    if !is_framed_plainly(&head.headers) {
        let detail = "Transfer-Encoding is something else than `chunked`, once";
        return Err(Problem::of(Code::InvalidRequest, "Transfer-Encoding", detail));
    }
    let method = head.method.as_str();
    if matches!(head.method, Method::CONNECT | Method::TRACE) || method.len() > METHOD_LENGTH_MAX {
        let method = method.get(..METHOD_LENGTH_MAX).unwrap_or(method);
        return Err(Problem::new(Code::MethodNotAllowed, format!("{method} is not supported")));
    }
    let upgrade = wants_upgrade(&head.headers);
    if upgrade && head.uri.path() != connect_node::PATH {
        return Err(Code::UpgradeNotSupported.into());
    }
    let proto = if ends.certificate.is_some() { "https" } else { "http" };
    let from = came_from(&head.headers, ends.peer, (proto, host_of(head)?), &config.trusted_proxies);
    if !from.host.is_empty() && !is_host(&from.host) {
        return Err(Problem::of(Code::InvalidRequest, "Host", "the Host header is not a host"));
    }
    let path = head.uri.path();
    // Who watches over this process may call it by any name. Its figures are no health: they name nodes.
    let is_health_check = matches!(path, "/healthz" | "/readyz");
    if !is_health_check && !gateway.hosts.serves(&from.host, ends.local) {
        return Err(hosts::refusal(&from.host));
    }
    let destination = destination(&from.host, path, &config.functions_domain)?;
    // A function may have such a path, too.
    if upgrade && destination != Destination::Fabric {
        return Err(Code::UpgradeNotSupported.into());
    }
    Ok((from, destination))
}

/// Whether the head is small enough. Asked last: what ends the cookies that fill it depends on where it goes.
fn check_size(gateway: &Gateway, head: &Parts) -> Result<(), Problem> {
    let (size, size_max) = (head_size(head), gateway.config.head_max);
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > size_max.as_usize() {
        let detail = format!("path and query have {target} bytes; accepted: {size_max}, with the headers");
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    if size > size_max.as_usize() {
        return Err(Problem::new(Code::HeadersTooLarge, format!("the head has {size} bytes; accepted: {size_max}")));
    }
    Ok(())
}

/// The host that the request is for: the target's, where it names one, else the header's.
fn host_of(head: &Parts) -> Result<String, Problem> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::of(Code::InvalidRequest, "Host", "several Host headers"));
    }
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.as_str().rsplit('@').next().unwrap_or_default().to_owned());
    }
    match first.map(|host| host.to_str()) {
        Some(Ok(host)) if is_host(host) => Ok(host.to_owned()),
        Some(_) => Err(Problem::of(Code::InvalidRequest, "Host", "the Host header is not a host")),
        None if head.version >= Version::HTTP_11 => Err(Problem::of(Code::InvalidRequest, "Host", "no Host header")),
        None => Ok(String::new()),
    }
}

fn readiness(gateway: &Gateway) -> Response {
    if gateway.draining.load(Ordering::Relaxed) {
        return refuse(&Code::Draining.into());
    }
    if !gateway.warmed_up.load(Ordering::Relaxed) {
        return refuse(&Problem::new(Code::ControlPlaneUnavailable, "the control plane has not been reached yet"));
    }
    // What is ready: a lane may still be made while calls of the other are served.
    let lanes: Vec<String> = gateway.placing.nodes.lanes().iter().map(ToString::to_string).collect();
    full(StatusCode::OK, "text/plain", format!("ready\nlanes: {}\n", lanes.join(" ")))
}

fn figures() -> Response {
    let text = meters::recorder().map(|recorder| recorder.render()).unwrap_or_default();
    full(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

struct InFlight(Arc<Gateway>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.meters.in_flight.decrement(1.0);
    }
}
