//! HTTP heads as bytes: any value that HTTP allows, duplicates and order kept.
//!
//! ```text
//! request:  version[1] method_len[2] method uri_len[4] uri headers
//! response: version[1] status[2] headers
//! headers:  count[2] (name_len[2] name value_len[4] value)*
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};

/// Headers in one head.
const HEADERS_MAX: u16 = 1024;

/// Why a head cannot be sent or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the head is larger than {} bytes or has more than {HEADERS_MAX} headers", super::HEAD_MAX_BYTES)]
    TooLarge,
    #[error("the head is malformed")]
    Malformed,
}

pub(crate) struct RequestHead;
pub(crate) struct ResponseHead;

pub(crate) fn request_head_bytes(parts: &http::request::Parts) -> Result<Bytes, HeadError> {
    let mut uri = String::new();
    std::fmt::Write::write_fmt(&mut uri, format_args!("{}", parts.uri)).map_err(|_| HeadError::Malformed)?;
    let method = parts.method.as_str();
    let size = headers_size(&parts.headers)? + 7 + method.len() + uri.len();
    let mut out = sized(size)?;
    out.put_u8(version_code(parts.version));
    out.put_u16(u16::try_from(method.len()).map_err(|_| HeadError::TooLarge)?);
    out.put_slice(method.as_bytes());
    out.put_u32(u32::try_from(uri.len()).map_err(|_| HeadError::TooLarge)?);
    out.put_slice(uri.as_bytes());
    put_headers(&mut out, &parts.headers)?;
    Ok(out.freeze())
}

pub(crate) fn response_head_bytes(parts: &http::response::Parts) -> Result<Bytes, HeadError> {
    let mut out = sized(headers_size(&parts.headers)? + 3)?;
    out.put_u8(version_code(parts.version));
    out.put_u16(parts.status.as_u16());
    put_headers(&mut out, &parts.headers)?;
    Ok(out.freeze())
}

impl RequestHead {
    pub(crate) fn decode(mut bytes: Bytes) -> Result<http::request::Parts, HeadError> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.version = version_of(bytes.try_get_u8().map_err(malformed)?);
        let method_len = bytes.try_get_u16().map_err(malformed)?;
        let method = split(&mut bytes, usize::from(method_len))?;
        parts.method = Method::from_bytes(&method).map_err(malformed)?;
        let uri_len = bytes.try_get_u32().map_err(malformed)?;
        let uri = split(&mut bytes, usize::try_from(uri_len).map_err(malformed)?)?;
        parts.uri = Uri::from_maybe_shared(uri).map_err(malformed)?;
        parts.headers = take_headers(bytes)?;
        Ok(parts)
    }
}

impl ResponseHead {
    pub(crate) fn decode(mut bytes: Bytes) -> Result<http::response::Parts, HeadError> {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.version = version_of(bytes.try_get_u8().map_err(malformed)?);
        parts.status = StatusCode::from_u16(bytes.try_get_u16().map_err(malformed)?).map_err(malformed)?;
        parts.headers = take_headers(bytes)?;
        Ok(parts)
    }
}

/// Headers that follow a body.
pub(crate) fn trailers_bytes(trailers: &HeaderMap) -> Result<Bytes, HeadError> {
    let mut out = sized(headers_size(trailers)?)?;
    put_headers(&mut out, trailers)?;
    Ok(out.freeze())
}

/// The same, read.
pub(crate) fn take_trailers(bytes: Bytes) -> Result<HeaderMap, HeadError> {
    take_headers(bytes)
}

fn sized(size: usize) -> Result<BytesMut, HeadError> {
    if size > super::HEAD_MAX_BYTES { Err(HeadError::TooLarge) } else { Ok(BytesMut::with_capacity(size)) }
}

fn headers_size(headers: &HeaderMap) -> Result<usize, HeadError> {
    if headers.len() > usize::from(HEADERS_MAX) {
        return Err(HeadError::TooLarge);
    }
    Ok(2 + headers.iter().map(|(name, value)| 6 + name.as_str().len() + value.len()).sum::<usize>())
}

fn put_headers(out: &mut BytesMut, headers: &HeaderMap) -> Result<(), HeadError> {
    out.put_u16(u16::try_from(headers.len()).map_err(|_| HeadError::TooLarge)?);
    for (name, value) in headers {
        out.put_u16(u16::try_from(name.as_str().len()).map_err(|_| HeadError::TooLarge)?);
        out.put_slice(name.as_str().as_bytes());
        out.put_u32(u32::try_from(value.len()).map_err(|_| HeadError::TooLarge)?);
        out.put_slice(value.as_bytes());
    }
    Ok(())
}

fn take_headers(mut bytes: Bytes) -> Result<HeaderMap, HeadError> {
    let count = bytes.try_get_u16().map_err(malformed)?;
    // The count is the peer's word: believe only what its bytes can hold.
    if count > HEADERS_MAX || usize::from(count) * 6 > bytes.len() {
        return Err(HeadError::Malformed);
    }
    let mut headers = HeaderMap::with_capacity(usize::from(count));
    for _ in 0..count {
        let name_len = bytes.try_get_u16().map_err(malformed)?;
        let name = split(&mut bytes, usize::from(name_len))?;
        let value_len = bytes.try_get_u32().map_err(malformed)?;
        let value = split(&mut bytes, usize::try_from(value_len).map_err(malformed)?)?;
        let name = HeaderName::from_bytes(&name).map_err(malformed)?;
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(malformed)?);
    }
    if bytes.is_empty() { Ok(headers) } else { Err(HeadError::Malformed) }
}

fn split(bytes: &mut Bytes, len: usize) -> Result<Bytes, HeadError> {
    if bytes.len() < len { Err(HeadError::Malformed) } else { Ok(bytes.split_to(len)) }
}

fn malformed<E>(_: E) -> HeadError {
    HeadError::Malformed
}

fn version_code(version: Version) -> u8 {
    match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    }
}

fn version_of(code: u8) -> Version {
    match code {
        9 => Version::HTTP_09,
        10 => Version::HTTP_10,
        20 => Version::HTTP_2,
        30 => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}
