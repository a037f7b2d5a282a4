//! The answer of List Blobs.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::{
    container::{Blob, Blobs},
    refusal::Refusal,
    sas::Parameters,
};
use crate::hub::timestamp::http_date;

/// One page of the blobs in a container, in the order of their names.
pub(super) fn list(endpoint: &str, container: &str, blobs: &Blobs, query: &Parameters) -> Result<String, Refusal> {
    let (prefix, marker) = (query.get("prefix"), query.get("marker"));
    let most = match query.get("maxresults") {
        "" => MOST,
        count => match count.parse() {
            Ok(0) | Err(_) => return Err(Refusal::InvalidQueryParameterValue),
            Ok(count) => MOST.min(count),
        },
    };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"{}/\" ContainerName=\"{}\">\
         <Prefix>{}</Prefix><Marker>{}</Marker><MaxResults>{most}</MaxResults><Blobs>",
        escape(endpoint),
        escape(container),
        escape(prefix),
        escape(marker),
    );
    // A marker is the name of the blob that comes next.
    let from = prefix.max(marker).to_owned();
    let mut found = blobs
        .blobs
        .range(from..)
        .take_while(|(name, _)| name.starts_with(prefix));
    for (name, blob) in found.by_ref().take(most) {
        write_blob(&mut xml, name, blob);
    }
    let next = found.next().map_or("", |(name, _)| name);
    let _ = write!(
        xml,
        "</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
        escape(next)
    );
    Ok(xml)
}

fn write_blob(xml: &mut String, name: &str, blob: &Blob) {
    let _ = write!(
        xml,
        "<Blob><Name>{}</Name><Properties><Creation-Time>{}</Creation-Time><Last-Modified>{}</Last-Modified>\
         <Etag>{}</Etag><Content-Length>{}</Content-Length><Content-Type>{}</Content-Type>\
         <BlobType>BlockBlob</BlobType><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>\
         </Properties></Blob>",
        escape(name),
        http_date(blob.created),
        http_date(blob.version.modified),
        blob.version.etag().trim_matches('"'),
        blob.contents.len(),
        escape(&*blob.content_type),
    );
}

/// What the service gives at most.
const MOST: usize = 5000;
