//! Lengths of responses that have no body of their own: a response to HEAD, and a 304, may announce the length of the
//! response to GET (RFC 9110, 8.6, 9.3.2, 15.4.5). The engine would compare it with what the guest writes, which is
//! nothing.

use http::{Method, StatusCode};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::HostOutgoingResponse as _;
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::p2::types::HostOutgoingResponse;

use crate::guest::ComponentGuest;

/// Takes the place of the function that gives a response its body.
pub(crate) fn for_components(linker: &mut Linker<ComponentGuest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:http/types@0.2.12")?.func_wrap("[method]outgoing-response.body", body)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Given = Result<Resource<HostOutgoingBody>, ()>;

fn body(
    mut guest: StoreContextMut<'_, ComponentGuest>,
    (response,): (Resource<HostOutgoingResponse>,),
) -> wasmtime::Result<(Given,)> {
    let is_head = guest.data().method == Method::HEAD;
    let mut host = guest.data_mut().http();
    if !is_head && host.table.get(&response)?.status != StatusCode::NOT_MODIFIED {
        return Ok((host.body(response)?,));
    }
    let (chunks, size) = (host.hooks.p2_outgoing_body_buffer_chunks(), host.hooks.p2_outgoing_body_chunk_size());
    let response = host.table.get_mut(&response)?;
    if response.body.is_some() {
        return Ok((Err(()),));
    }
    let (body, stream) = HostOutgoingBody::new(StreamContext::Response, None, chunks, size);
    response.body = Some(stream);
    Ok((Ok(host.table.push(body)?),))
}
