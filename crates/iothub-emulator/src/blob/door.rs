//! The account's door: requests of Azure Storage's REST interface, and answers.

use std::ops::Range;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, RANGE},
};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use quick_xml::escape::escape;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    account::Account,
    authorization::{Allowed, authorize},
    block_list,
    condition::Condition,
    container::{Put, Version},
    contents::Contents,
    listing,
    operation::Operation,
    refusal::Refusal,
    sas::{Parameters, Resource},
};
use crate::hub::{sas::percent_decode, timestamp::http_date};

/// Whether a path is the account's.
pub(crate) fn is_addressed(path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(Account::NAME));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) async fn answer(account: &Account, request: Request<Incoming>) -> Response<Contents> {
    let (method, version) = (request.method().clone(), version(request.headers()));
    let request_id = Uuid::new_v4().to_string();
    let now = account.now();
    let mut served = serve(account, request).await;
    if !method.is_safe() && served.is_ok() {
        served = account.persisted().await.and(served);
    }
    let mut response = match served {
        Ok(response) => response,
        Err(refusal) => refuse(refusal, &method, &request_id, now),
    };
    let headers = response.headers_mut();
    put(headers, REQUEST_ID, &request_id);
    put(headers, VERSION, &version);
    put(headers, DATE, &http_date(now));
    response
}

async fn serve(account: &Account, request: Request<Incoming>) -> Result<Response<Contents>, Refusal> {
    let (head, body) = request.into_parts();
    let (container, blob) = names(head.uri.path())?;
    let resource = Resource {
        container: &container,
        blob: blob.as_deref(),
    };
    let query = Parameters::parse(head.uri.query().unwrap_or_default());
    let operation = Operation::of(&head.method, &query, blob.is_some())?;
    let allowed = authorize(account, &head.headers, &query, &operation, resource)?;
    let name = blob.as_deref().unwrap_or_default();
    if head.method == Method::PUT && blob.is_some() && !head.headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::MissingContentLengthHeader);
    }
    match operation {
        Operation::CreateContainer => {
            check_container_name(&container)?;
            account.create_container(&container)?;
            Ok(created(None))
        }
        Operation::GetContainer => {
            let version = account.read(&container, |container| Ok(container.version))?;
            Ok(described(Response::default(), version))
        }
        Operation::ListBlobs => {
            let xml = account.read(&container, |blobs| {
                listing::list(account.endpoint(), &container, blobs, &query)
            })?;
            Ok(xml_response(StatusCode::OK, xml))
        }
        Operation::PutBlob => {
            if head.headers.get(BLOB_TYPE).is_none_or(|kind| kind != "BlockBlob") {
                return Err(Refusal::InvalidHeaderValue);
            }
            let (contents, put) = (receive(body).await?, put_of(&head.headers, &allowed));
            let now = account.now();
            let version = account.write(&container, |blobs| blobs.put(name, contents, put, now))?;
            Ok(created(Some(version)))
        }
        Operation::PutBlock { id } => {
            let contents = receive(body).await?;
            account.write(&container, |blobs| {
                blobs.put_block(name, id, contents);
                Ok(())
            })?;
            Ok(created(None))
        }
        Operation::PutBlockList => {
            let list = block_list::parse(&receive(body).await?.to_bytes())?;
            let (now, put) = (account.now(), put_of(&head.headers, &allowed));
            let version = account.write(&container, |blobs| blobs.put_block_list(name, &list, put, now))?;
            Ok(created(Some(version)))
        }
        Operation::GetBlob => get(account, resource, &head.method, &head.headers),
        Operation::DeleteBlob => {
            let condition = Condition::of(&head.headers);
            account.write(&container, |blobs| blobs.delete(name, &condition))?;
            Ok(empty(StatusCode::ACCEPTED))
        }
    }
}

fn get(
    account: &Account,
    resource: Resource<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Contents>, Refusal> {
    let blob = account.read(resource.container, |blobs| {
        let blob = blobs.get(resource.blob.unwrap_or_default())?;
        Condition::of(headers).check(Some(blob.version))?;
        Ok(blob.clone())
    })?;
    let length = blob.contents.len();
    let range = range(headers, length)?;
    let contents = match &range {
        Some(range) => blob.contents.slice(range),
        None => blob.contents,
    };
    let mut response = Response::default();
    let all = response.headers_mut();
    put(all, CONTENT_LENGTH, &contents.len().to_string());
    put(all, CONTENT_TYPE, &blob.content_type);
    put(all, ACCEPT_RANGES, "bytes");
    put(all, BLOB_TYPE, "BlockBlob");
    put(all, CREATION_TIME, &http_date(blob.created));
    if let Some(range) = range {
        put(
            all,
            CONTENT_RANGE,
            &format!("bytes {}-{}/{length}", range.start, range.end - 1),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if method != Method::HEAD {
        *response.body_mut() = contents;
    }
    Ok(described(response, blob.version))
}

/// The container, and the blob if the path goes on. The name of a blob may hold slashes.
fn names(path: &str) -> Result<(String, Option<String>), Refusal> {
    let rest = path.get(Account::NAME.len() + 2..).unwrap_or_default();
    let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
    let decode = |text| {
        percent_decode(text)
            .map(std::borrow::Cow::into_owned)
            .ok_or(Refusal::InvalidUri)
    };
    if container.is_empty() {
        return Err(Refusal::InvalidUri);
    }
    let blob = if blob.is_empty() { None } else { Some(decode(blob)?) };
    Ok((decode(container)?, blob))
}

/// The published rule for the names of containers.
pub(super) fn check_container_name(name: &str) -> Result<(), Refusal> {
    let letters = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let hyphens = name.contains("--") || name.starts_with('-') || name.ends_with('-');
    if (3..=63).contains(&name.len()) && letters && !hyphens {
        return Ok(());
    }
    Err(Refusal::InvalidResourceName)
}

/// A body, as it comes; nothing is copied.
async fn receive(mut body: Incoming) -> Result<Contents, Refusal> {
    if body.size_hint().lower() > MAX_BODY {
        return Err(Refusal::RequestBodyTooLarge);
    }
    let mut contents = Contents::default();
    while let Some(frame) = body.frame().await {
        // A body that ends early is nobody's any more, so it hardly matters what is answered.
        let frame = frame.map_err(|_| Refusal::InvalidHeaderValue)?;
        if let Ok(piece) = frame.into_data() {
            contents.push(piece);
        }
        if contents.len() > MAX_BODY {
            return Err(Refusal::RequestBodyTooLarge);
        }
    }
    Ok(contents)
}

fn put_of(headers: &HeaderMap, allowed: &Allowed) -> Put {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let content_type = text(BLOB_CONTENT_TYPE).or_else(|| text(CONTENT_TYPE));
    Put {
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        condition: Condition::of(headers),
        may_overwrite: allowed.may_overwrite,
    }
}

/// The bytes that are asked for: `bytes=from-to` or `bytes=from-`.
fn range(headers: &HeaderMap, length: u64) -> Result<Option<Range<u64>>, Refusal> {
    let Some(text) = headers.get(MS_RANGE).or_else(|| headers.get(RANGE)) else {
        return Ok(None);
    };
    let parts = text.to_str().ok().and_then(|text| text.strip_prefix("bytes="));
    let (from, to) = parts
        .and_then(|text| text.split_once('-'))
        .ok_or(Refusal::InvalidHeaderValue)?;
    let from: u64 = from.parse().map_err(|_| Refusal::InvalidHeaderValue)?;
    let last = match to {
        "" => length.saturating_sub(1),
        to => to
            .parse::<u64>()
            .map_err(|_| Refusal::InvalidHeaderValue)?
            .min(length.saturating_sub(1)),
    };
    if from >= length || last < from {
        return Err(Refusal::InvalidRange);
    }
    Ok(Some(from..last + 1))
}

fn created(version: Option<Version>) -> Response<Contents> {
    let mut response = empty(StatusCode::CREATED);
    put(response.headers_mut(), SERVER_ENCRYPTED, "true");
    match version {
        Some(version) => described(response, version),
        None => response,
    }
}

fn described(mut response: Response<Contents>, version: Version) -> Response<Contents> {
    let headers = response.headers_mut();
    put(headers, ETAG, &version.etag());
    put(headers, LAST_MODIFIED, &http_date(version.modified));
    response
}

fn refuse(refusal: Refusal, method: &Method, request_id: &str, now: OffsetDateTime) -> Response<Contents> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>{}\nRequestId:{request_id}\nTime:{}\
         </Message></Error>",
        refusal.code(),
        escape(refusal.message()),
        crate::hub::timestamp::text(now),
    );
    // An answer to HEAD has no body; the header says the same.
    let mut response = match *method == Method::HEAD {
        true => empty(refusal.status()),
        false => xml_response(refusal.status(), xml),
    };
    put(response.headers_mut(), ERROR_CODE, refusal.code());
    response
}

fn xml_response(status: StatusCode, xml: String) -> Response<Contents> {
    let mut response = Response::new(Contents::from(Bytes::from(xml)));
    *response.status_mut() = status;
    put(response.headers_mut(), CONTENT_TYPE, "application/xml");
    response
}

fn empty(status: StatusCode) -> Response<Contents> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// The version that the client asked for, because every version is served alike.
fn version(headers: &HeaderMap) -> String {
    let asked = headers.get(VERSION).and_then(|version| version.to_str().ok());
    asked.unwrap_or("2022-11-02").to_owned()
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // What no header can hold is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// More than any client of ours sends at once.
const MAX_BODY: u64 = 256 * 1024 * 1024;

const BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");
const BLOB_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-content-type");
const CREATION_TIME: HeaderName = HeaderName::from_static("x-ms-creation-time");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const MS_RANGE: HeaderName = HeaderName::from_static("x-ms-range");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const SERVER_ENCRYPTED: HeaderName = HeaderName::from_static("x-ms-request-server-encrypted");
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
