//! Properties in a topic: `key=value` pairs between ampersands, both sides percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::topic;
use crate::hub::{Ack, C2dMessage, D2cMessage, Failure, Target, sas::percent_decode, timestamp};

/// Puts what a bag holds where it belongs in a message.
///
/// What the hub does not know, or cannot read, stays a property by the name it has in the bag.
pub(super) fn read(bag: &str, message: &mut D2cMessage) -> Result<(), Failure> {
    // Some clients end the topic with a slash, and some do so behind the bag.
    let bag = bag.strip_suffix('/').unwrap_or(bag);
    for pair in bag.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (percent_decode(key), percent_decode(value)) else {
            return Err(Failure::argument(format!("{pair:?} in the properties is not UTF-8")));
        };
        let text = match &*key {
            "$.mid" => Some(&mut message.message_id),
            "$.cid" => Some(&mut message.correlation_id),
            "$.to" => Some(&mut message.to),
            "$.ct" => Some(&mut message.content_type),
            "$.ce" => Some(&mut message.content_encoding),
            "$.ctime" => Some(&mut message.creation_time),
            "$.schema" => Some(&mut message.message_schema),
            "$.ifid" => Some(&mut message.interface_id),
            "$.sub" => Some(&mut message.component),
            _ => None,
        };
        let expiry = (key == "$.exp").then(|| OffsetDateTime::parse(&value, &Rfc3339));
        match (text, expiry) {
            (Some(text), _) => *text = Some(value.into_owned()),
            (None, Some(Ok(expiry))) => message.expiry = Some(expiry),
            (None, None) if key == "$.uid" => message.user_id = Some(value.into_owned().into()),
            (None, _) => message.properties.push((key.into_owned(), value.into_owned())),
        }
    }
    Ok(())
}

/// The topic of a message to a device. `None` if no topic is that long.
///
/// Microsoft's SDKs differ in what they stand: one looks for a first property whose `$` is encoded, one throws at a key
/// without a value, one takes only times with seven digits of a second. This suits all.
pub(super) fn device_bound(target: &Target, message: &C2dMessage) -> Option<String> {
    let mut topic = topic::device_bound(target);
    let to = format!("/{}/messages/deviceBound", target.resource());
    let user_id = message.user_id.as_deref().map(String::from_utf8_lossy);
    let expiry = message.expiry.map(timestamp::text);
    let creation_time = message.creation_time.as_deref().map(|text| {
        let time = OffsetDateTime::parse(text, &Rfc3339);
        time.map_or_else(|_| text.to_owned(), timestamp::text)
    });
    let ack = (message.ack != Ack::None).then(|| message.ack.name());
    let system = [
        ("$.to", Some(message.to.as_deref().unwrap_or(&to))),
        ("$.mid", message.message_id.as_deref()),
        ("$.cid", message.correlation_id.as_deref()),
        ("$.uid", user_id.as_deref()),
        ("$.exp", expiry.as_deref()),
        ("$.ct", message.content_type.as_deref()),
        ("$.ce", message.content_encoding.as_deref()),
        ("$.ctime", creation_time.as_deref()),
        ("$.schema", message.message_schema.as_deref()),
        ("iothub-ack", ack),
    ];
    let system = system.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let own = message
        .properties
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let mut separator = "";
    for (key, value) in system.chain(own) {
        if key.is_empty() || value.is_empty() {
            continue;
        }
        let [key, value] = [key, value].map(|text| utf8_percent_encode(text, RESERVED));
        topic.push_str(&format!("{separator}{key}={value}"));
        separator = "&";
    }
    (topic.len() <= usize::from(u16::MAX)).then_some(topic)
}

/// Everything but the letters, digits and signs that RFC 3986 calls unreserved.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
