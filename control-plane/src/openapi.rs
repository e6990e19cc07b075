//! The API's document: what the handlers say of themselves, and what the gateway answers in their place.

use protocol::Problem;
use protocol::api::{Artifact, TestAnswer, TestCall};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder, SecurityRequirement};

/// What stands in no handler.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "CrowdCloud", description = "Deploy functions, call them, see what they used."),
    paths(upload_artifact, upload_input, test_function),
    components(schemas(Problem))
)]
pub(crate) struct Document;

/// Uploads an artifact: the body is its bytes. (The gateway answers.)
#[utoipa::path(post, path = "/artifacts", tag = "functions", request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 201, body = Artifact)))]
#[allow(dead_code, reason = "only its description is used")]
fn upload_artifact() {}

/// Uploads a job's input: the body is its bytes. (The gateway answers.)
#[utoipa::path(post, path = "/uploads", tag = "jobs", request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 201, body = Artifact)))]
#[allow(dead_code, reason = "only its description is used")]
fn upload_input() {}

/// One call, answered as data. (The gateway answers.)
#[utoipa::path(post, path = "/functions/{name}/test", tag = "functions", params(("name" = String, Path)), request_body = TestCall, responses((status = 200, body = TestAnswer)))]
#[allow(dead_code, reason = "only its description is used")]
fn test_function() {}

/// Adds what all operations share: credentials, and the problem document. Returns the document's text.
pub(crate) fn finish(mut document: OpenApi) -> String {
    if let Some(components) = &mut document.components {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(protocol::headers::SESSION_COOKIE));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
    let none: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::new("key", none), SecurityRequirement::new("session", none)]);
    let problem = ResponseBuilder::new()
        .description("Refused or failed: see `code`, and `field` for the input that it is about.")
        .content(Problem::MEDIA_TYPE, Content::new(Some(Ref::from_schema_name("Problem"))))
        .build();
    for item in document.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten();
        for operation in operations {
            operation.responses.responses.insert("default".to_owned(), problem.clone().into());
        }
    }
    serde_json::to_string(&document).unwrap_or_default()
}
