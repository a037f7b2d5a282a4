use azure_core::http::StatusCode;
use serde_json::{Map, Value};

use super::HubError;
use crate::HubErrorCode;

/// What an error answer says, whichever way it is written:
///
/// - `{"Message": "ErrorCode:DeviceNotFound;…", "ExceptionMessage": "Tracking ID:…"}`, with the text on one line or many;
/// - `{"errorCode": 409301, "message": "…", "trackingId": "…"}`;
/// - the second as a string, or as an object, inside the `Message` of the first;
/// - the text alone; a page of HTML from something before the hub; nothing.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) number: Option<u32>,
    pub(super) name: Option<String>,
    pub(super) message: String,
    pub(super) tracking_id: Option<String>,
}

impl Envelope {
    pub(super) fn read(text: &str) -> Self {
        let mut envelope = Self::default();
        envelope.read_text(text, MAX_NESTING);
        envelope.message = presentable(&envelope.message);
        envelope
    }

    /// The header is what the hub is most exact in; but a name that is not in the list says less than a number in the
    /// body.
    pub(super) fn named_by_header(&mut self, name: &str) {
        let name = name.trim();
        if name.is_empty() {
            return;
        }
        if HubErrorCode::from_name(name).number().is_some() {
            self.number = None;
        }
        self.name = None;
        self.coded(name);
    }

    /// Takes a code that is written as a number or as a name.
    pub(super) fn coded(&mut self, code: &str) {
        match code.trim().parse() {
            Ok(number) => self.number = self.number.or(Some(number)),
            Err(_) => self.name = self.name.take().or_else(|| Some(code.trim().to_owned())),
        }
    }

    pub(super) fn code(&self) -> Option<HubErrorCode> {
        match (self.number, &self.name) {
            (None, None) => None,
            (None, Some(name)) => Some(HubErrorCode::from_name(name)),
            (Some(number), None) => Some(HubErrorCode::from_number(number)),
            (Some(number), Some(name)) => Some(match HubErrorCode::from_number(number) {
                HubErrorCode::Other { number, .. } => HubErrorCode::Other {
                    name: name.clone(),
                    number,
                },
                known => known,
            }),
        }
    }

    pub(super) fn into_error(self, status: StatusCode) -> HubError {
        HubError {
            code: self.code().unwrap_or_else(|| HubErrorCode::from_status(status)),
            message: self.message,
            tracking_id: self.tracking_id,
            amqp: None,
        }
    }

    fn read_text(&mut self, text: &str, nesting: u8) {
        let text = text.trim_start_matches('\u{feff}').trim();
        if nesting > 0 && text.starts_with(['{', '"']) {
            match serde_json::from_str(text) {
                Ok(Value::Object(object)) => return self.read_object(&object, nesting - 1),
                Ok(Value::String(inner)) => return self.read_text(&inner, nesting - 1),
                _ => {}
            }
        }
        self.find_tracking_id(text);
        self.message = if text.starts_with('<') {
            title(text)
        } else {
            self.read_lines(text)
        };
    }

    fn read_object(&mut self, object: &Map<String, Value>, nesting: u8) {
        let field = |name: &str| {
            let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value).filter(|value| !value.is_null())
        };
        match field("errorCode").or_else(|| field("code")) {
            Some(Value::Number(number)) => self.number = number.as_u64().and_then(|number| number.try_into().ok()),
            Some(Value::String(code)) if !code.trim().is_empty() => self.coded(code),
            _ => {}
        }
        if let Some(Value::String(id)) = field("trackingId") {
            self.tracking_id = some_text(id);
        }
        match field("message").or_else(|| field("error")) {
            Some(Value::String(text)) => self.read_text(text, nesting),
            Some(Value::Object(inner)) if nesting > 0 => self.read_object(inner, nesting - 1),
            Some(other) => self.message = other.to_string(),
            None => {}
        }
        if let Some(Value::String(text)) = field("exceptionMessage") {
            self.find_tracking_id(text);
            if self.message.is_empty() && self.tracking_id.is_none() {
                self.message = text.trim().to_owned();
            }
        }
    }

    /// `ErrorCode:<name or number>;<text>`, and the variant in which the text has lines `Message: …`, `Tracking ID: …`.
    fn read_lines(&mut self, text: &str) -> String {
        let mut rest = text;
        if let Some(coded) = strip_label(text, "ErrorCode") {
            let end = coded.find([';', '\n', ',']).unwrap_or(coded.len());
            let code = coded[..end].trim();
            if !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                self.coded(code);
                rest = coded[end..].trim_start_matches([';', ',']).trim();
            }
        }
        let mut lines = rest.lines().map(str::trim);
        lines
            .find_map(|line| strip_label(line, "Message"))
            .filter(|line| !line.is_empty())
            .unwrap_or(rest)
            .to_owned()
    }

    fn find_tracking_id(&mut self, text: &str) {
        if self.tracking_id.is_some() {
            return;
        }
        for label in ["Tracking ID:", "TrackingId:"] {
            if let Some((_, id)) = text.split_once(label) {
                let end = id.find(['\n', '\r', ',', ';', '"']).unwrap_or(id.len());
                self.tracking_id = some_text(&id[..end]);
                return;
            }
        }
    }
}

/// What follows `label:` at the start of `text`.
fn strip_label<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(label.len())?;
    let rest = rest.trim_start().strip_prefix(':')?;
    start.eq_ignore_ascii_case(label).then(|| rest.trim_start())
}

fn some_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(MAX_TRACKING_ID).collect())
}

fn title(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let start = lower.find("<title>").map(|at| at + "<title>".len());
    let title = start.and_then(|start| Some(html[start..start + lower[start..].find('<')?].trim()));
    match title {
        Some(title) if !title.is_empty() => format!("a page of HTML with the title {title:?}"),
        _ => "a page of HTML".to_owned(),
    }
}

/// Short enough for a log, and without the signature of a shared access signature that an answer may echo.
fn presentable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_MESSAGE));
    let mut rest = text.trim();
    while let Some(at) = rest.find("sig=") {
        let (before, signature) = rest.split_at(at + "sig=".len());
        let end = signature
            .find(|c: char| !c.is_ascii_alphanumeric() && !"%+/=-_".contains(c))
            .unwrap_or(signature.len());
        shown.push_str(before);
        shown.push('…');
        rest = &signature[end..];
    }
    shown.push_str(rest);
    if let Some((end, _)) = shown.char_indices().nth(MAX_MESSAGE) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

const MAX_NESTING: u8 = 4;
const MAX_MESSAGE: usize = 2048;
const MAX_TRACKING_ID: usize = 256;
