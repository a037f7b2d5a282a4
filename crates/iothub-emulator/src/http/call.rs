use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Uri,
    header::{AUTHORIZATION, HeaderName, IF_MATCH},
    request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use iothub_core::{DeviceId, HubErrorCode};

use super::{Caller, line::Line};
use crate::hub::{CertificateChain, Failure, Grant, Hub, Target, if_match::IfMatch, sas::percent_decode};

/// One request, read and authenticated.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) grant: Grant,
    pub(crate) body: Bytes,
    /// The segments of the path, decoded, as the client wrote them.
    path: Vec<String>,
    query: Vec<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    line: Line,
}

impl Call {
    /// Reads a request whole, after its sender has shown who it is.
    pub(crate) async fn read(hub: &Hub, caller: &Caller, request: Request<Incoming>) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let path = segments(head.uri.path())?;
        let grant = authorize(hub, &caller.certificates, &head, &path)?;
        if !grant.covers_all() {
            grant.covers(&path.join("/"))?;
        }
        let query = query(head.uri.query().unwrap_or_default())?;
        check_api_version(&query)?;
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let text = format!("a body has at most {MAX_BODY} bytes");
                return Err(Failure::new(HubErrorCode::GenericRequestEntityTooLarge, text));
            }
            Err(error) => {
                let text = format!("the body ended early: {error}");
                return Err(Failure::new(HubErrorCode::GenericBadRequest, text));
            }
        };
        Ok(Self {
            method: method(&head)?,
            grant,
            body,
            path,
            query,
            uri: head.uri,
            headers: head.headers,
            line: caller.line.clone(),
        })
    }

    /// The path with its fixed words in lower case, to be matched; ids are to be taken from [`segment`](Self::segment).
    pub(crate) fn lower_path(&self) -> Vec<String> {
        self.path.iter().map(|segment| segment.to_ascii_lowercase()).collect()
    }

    /// A segment of the path as the client wrote it.
    pub(crate) fn segment(&self, index: usize) -> &str {
        self.path.get(index).map_or("", String::as_str)
    }

    /// The path as it came, without the query.
    pub(crate) fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// The device whose id is the second segment.
    pub(crate) fn device_id(&self) -> Result<DeviceId, Failure> {
        self.segment(1)
            .parse()
            .map_err(|error: iothub_core::Error| Failure::argument(error.to_string()))
    }

    /// The device in the second segment, or the module in the fourth.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let module = self
            .path
            .get(2)
            .is_some_and(|word| word.eq_ignore_ascii_case("modules"));
        Target::parse(self.segment(1), module.then(|| self.segment(3)))
    }

    /// A parameter of the query, by its name in any case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The connection that it came over.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) fn if_match(&self) -> IfMatch {
        IfMatch::parse(self.header(IF_MATCH.as_str()))
    }
}

/// By a header, or without one by the certificate of the device that the path is about.
fn authorize(hub: &Hub, certificates: &CertificateChain, head: &Parts, path: &[String]) -> Result<Grant, Failure> {
    let mut headers = head.headers.get_all(AUTHORIZATION).iter();
    match (headers.next(), headers.next()) {
        (Some(header), None) => {
            let credential = header
                .to_str()
                .map_err(|_| Failure::unauthorized("the authorization header is not ASCII"))?;
            hub.authorize(credential)
        }
        (None, _) => match path {
            [devices, device, ..] if devices.eq_ignore_ascii_case("devices") && !certificates.is_empty() => {
                hub.authenticate_certificate(&Target::parse(device, None)?, certificates)
            }
            _ => hub.authorize(""),
        },
        _ => Err(Failure::unauthorized("there are two authorization headers")),
    }
}

/// Clients that cannot send PATCH send POST and say so in a header.
fn method(head: &Parts) -> Result<Method, Failure> {
    let Some(method) = head.headers.get(METHOD_OVERRIDE) else {
        return Ok(head.method.clone());
    };
    if head.method != Method::POST {
        return Err(Failure::argument("X-HTTP-Method-Override goes with POST"));
    }
    Method::from_bytes(method.as_bytes()).map_err(|_| Failure::argument("X-HTTP-Method-Override is not a method"))
}

/// Split first and decoded then, because an id may hold an encoded slash in some client; a plus is a plus.
fn segments(path: &str) -> Result<Vec<String>, Failure> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| match percent_decode(segment) {
            Some(segment) => Ok(segment.into_owned()),
            None => Err(Failure::argument(format!("{segment:?} in the path is not UTF-8"))),
        })
        .collect()
}

fn query(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let decode = |text: &str| {
        let spaced = match text.contains('+') {
            true => Cow::Owned(text.replace('+', " ")),
            false => Cow::Borrowed(text),
        };
        match percent_decode(&spaced) {
            Some(text) => Ok(text.into_owned()),
            None => Err(Failure::argument(format!("{text:?} in the query is not UTF-8"))),
        }
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value)
}

/// Any date will do, because this hub behaves the same for all of them.
fn check_api_version(query: &[(String, String)]) -> Result<(), Failure> {
    let version = parameter(query, "api-version").unwrap_or_default();
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let shape = date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if shape {
        return Ok(());
    }
    let text = format!("{version:?} is not an api-version, such as 2021-04-12");
    Err(Failure::new(HubErrorCode::InvalidProtocolVersion, text))
}

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Enough for a hundred devices with the largest twins there can be.
const MAX_BODY: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_before_they_are_decoded() {
        for (path, expected) in [
            ("/devices/lamp", ["devices", "lamp"]),
            ("/devices/lamp/", ["devices", "lamp"]),
            ("/devices/a%2Fb", ["devices", "a/b"]),
            ("/devices/a+b%2B", ["devices", "a+b+"]),
            ("/devices/100%", ["devices", "100%"]),
            ("/devices/a%2523", ["devices", "a%23"]),
        ] {
            assert_eq!(segments(path).unwrap(), expected);
        }
    }

    #[test]
    fn a_version_is_a_date() {
        for (version, right) in [
            ("2021-04-12", true),
            ("2020-05-31-preview", true),
            ("", false),
            ("2021-4-12", false),
            ("latest", false),
        ] {
            let query = [("api-version".to_owned(), version.to_owned())];
            assert_eq!(check_api_version(&query).is_ok(), right, "{version}");
        }
    }
}
