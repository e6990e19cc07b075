//! What a request's URL says, against what the API's document says: queries name no parameter that is not there, and
//! what is not there is told with the parameter of the path that names it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use protocol::{Code, Field, Problem};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use crate::error::{Error, Refusal, refuse_field, respond};

/// The query parameters of each operation.
#[derive(Debug, Default)]
pub(crate) struct Queries(HashMap<(String, Method), Vec<String>>);

impl Queries {
    /// As the handlers describe them.
    pub(super) fn of(document: &OpenApi) -> Arc<Self> {
        let mut queries = HashMap::new();
        for (path, item) in &document.paths.paths {
            let operations = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
                (Method::PATCH, &item.patch),
            ];
            for (method, operation) in operations {
                let Some(operation) = operation else { continue };
                queries.insert((path.clone(), method), names(operation));
            }
        }
        Arc::new(Self(queries))
    }

    /// Refuses a parameter that the operation does not have, and one that is there twice.
    fn check(&self, path: &str, method: &Method, query: &str) -> Result<(), Error> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        // What is no operation is refused as such.
        let Some(known) = self.0.get(&(path.to_owned(), method)) else { return Ok(()) };
        let wrong = |name: &str, why: String| {
            let detail = format!("The query parameter `{}` {why}.", Field::from(name).as_str().escape_debug());
            Err(refuse_field(Code::InvalidRequest, name, detail))
        };
        let mut seen: Vec<&String> = Vec::new();
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            let Some(parameter) = known.iter().find(|known| **known == name) else {
                return match known.as_slice() {
                    [] => wrong(&name, "is unknown: none is known here".to_owned()),
                    known => wrong(&name, format!("is unknown; known are: {}", known.join(", "))),
                };
            };
            if seen.contains(&parameter) {
                return wrong(&name, "is there twice".to_owned());
            }
            seen.push(parameter);
        }
        Ok(())
    }
}

fn names(operation: &Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    parameters.filter(|one| one.parameter_in == ParameterIn::Query).map(|one| one.name.clone()).collect()
}

/// Refuses what the operation would pass over.
pub(super) async fn strict_query(
    State(queries): State<Arc<Queries>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let checked = path.map_or(Ok(()), |path| queries.check(path.as_str(), request.method(), query));
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Adds the field to a refusal that says that something in the path is not there.
pub(super) async fn named(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(Refusal(problem)) = response.extensions_mut().remove::<Refusal>() else { return response };
    let parameter = path.as_ref().and_then(|path| parameter(path.as_str(), &problem));
    parameter.map_or(response, |parameter| respond(&problem.at(parameter)))
}

/// The parameter of the path that names what is not there.
fn parameter<'a>(path: &'a str, problem: &Problem) -> Option<&'a str> {
    if problem.field.is_some() {
        return None;
    }
    let segments: Vec<&str> = path.split('/').collect();
    let bare = |segment: &'a str| segment.strip_prefix('{')?.strip_suffix('}');
    let after = |parents: &[&str]| {
        let found = segments.windows(2).find(|pair| parents.contains(&pair[0]))?;
        bare(found[1])
    };
    match problem.code {
        Code::FunctionNotFound => after(&["functions"]),
        Code::VersionNotFound => after(&["versions", "aliases"]),
        Code::NotFound | Code::InvitationInvalid => segments.iter().rev().find_map(|segment| bare(segment)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f34_what_is_not_there_is_told_with_its_parameter() {
        let told = |path, code| parameter(path, &Problem::from(code));
        let function = "/api/v1/functions/{name}/versions/{reference}";
        assert_eq!(told(function, Code::FunctionNotFound), Some("name"));
        assert_eq!(told(function, Code::VersionNotFound), Some("reference"));
        assert_eq!(told("/api/v1/functions/{name}/aliases/{alias}", Code::VersionNotFound), Some("alias"));
        assert_eq!(told("/api/v1/functions/{name}/rollback", Code::VersionNotFound), None, "the body names it");
        assert_eq!(told("/api/v1/triggers/{name}", Code::FunctionNotFound), None, "the body names it");
        assert_eq!(told("/api/v1/triggers/{name}", Code::NotFound), Some("name"));
        assert_eq!(told("/api/v1/jobs/{id}/logs", Code::NotFound), Some("id"));
        assert_eq!(told("/api/v1/jobs/{id}/logs", Code::Forbidden), None);
        assert_eq!(told("/api/v1/jobs", Code::NotFound), None);
        let known = Problem::of(Code::NotFound, "x-crowdcloud-account", "");
        assert_eq!(parameter("/api/v1/jobs/{id}", &known), None, "it is known already");
    }
}
