use std::collections::HashMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::well_known::Rfc3339,
    macros::format_description,
};
use url::form_urlencoded;

use super::{account::Account, operation::Operation, refusal::Refusal};
use crate::hub::authentication::Key;

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource<'a> {
    pub(super) container: &'a str,
    /// `None` for a container with all its blobs.
    pub(super) blob: Option<&'a str>,
}

/// The parameters of a query. What is not there is the same as what is empty.
#[derive(Debug)]
pub(crate) struct Parameters(HashMap<String, String>);

/// A signature that is about to be made.
#[derive(Debug)]
pub(crate) struct ServiceSas<'a> {
    account: &'a str,
    resource: Resource<'a>,
    parameters: Parameters,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl<'a> ServiceSas<'a> {
    pub(super) fn new(resource: Resource<'a>, permissions: &str, expires: OffsetDateTime) -> Self {
        let kind = if resource.blob.is_some() { "b" } else { "c" };
        let expires = expires.to_offset(UtcOffset::UTC).format(SECONDS).unwrap_or_default();
        let parameters = [
            ("sv", VERSION),
            ("sr", kind),
            ("sp", permissions),
            ("se", &expires),
            ("spr", "https"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            account: Account::NAME,
            resource,
            parameters: Parameters(parameters.into()),
        }
    }

    /// The same for another account than the emulator's, which may be spoken to in these protocols.
    pub(super) fn of(mut self, account: &'a str, protocols: &str) -> Self {
        self.account = account;
        self.parameters.0.insert("spr".to_owned(), protocols.to_owned());
        self
    }

    /// The query of the signed URI.
    pub(super) fn sign(self, key: &Key) -> String {
        let text = service_text(self.account, &self.parameters, self.resource);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), text.as_bytes());
        let mut query = form_urlencoded::Serializer::new(String::new());
        for name in ["sv", "sr", "sp", "se", "spr"] {
            query.append_pair(name, self.parameters.get(name));
        }
        query.append_pair("sig", &BASE64_STANDARD.encode(signature)).finish()
    }
}

/// Checks a shared access signature, for the account or for a container or blob, and returns its permissions.
///
/// Nothing is known here about addresses, so that a signature for some addresses only holds for all.
pub(super) fn verify(
    parameters: &Parameters,
    operation: &Operation,
    resource: Resource<'_>,
    key: &Key,
    now: OffsetDateTime,
) -> Result<String, Refusal> {
    let version = parameters.get("sv");
    if version.len() != VERSION.len() {
        return Err(Refusal::AuthenticationFailed(
            "sv is not a version, such as 2022-11-02.",
        ));
    }
    let for_account = !parameters.get("ss").is_empty();
    let text = match (for_account, parameters.get("sr")) {
        (true, _) => account_text(parameters),
        (false, "c") => service_text(Account::NAME, parameters, Resource { blob: None, ..resource }),
        (false, "b") => service_text(Account::NAME, parameters, resource),
        _ => {
            return Err(Refusal::AuthenticationFailed(
                "sr is neither c, a container, nor b, a blob.",
            ));
        }
    };
    check_signature(parameters.get("sig"), &text, key)?;
    check_time(parameters, now)?;
    let permissions = parameters.get("sp");
    let right_type = match for_account {
        true => parameters.get("ss").contains('b') && parameters.get("srt").contains(operation.resource_type()),
        false => operation.is_within_container() && (parameters.get("sr") == "c" || resource.blob.is_some()),
    };
    if !right_type {
        return Err(Refusal::AuthorizationResourceTypeMismatch);
    }
    if !permissions
        .chars()
        .any(|letter| operation.permissions().contains(letter))
    {
        return Err(Refusal::AuthorizationPermissionMismatch);
    }
    Ok(permissions.to_owned())
}

fn check_signature(presented: &str, text: &str, key: &Key) -> Result<(), Refusal> {
    let wrong =
        Refusal::AuthenticationFailed("Signature did not match: it was made for something else or by another key.");
    let presented = BASE64_STANDARD.decode(presented).map_err(|_| wrong)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
    hmac::verify(&key, text.as_bytes(), &presented).map_err(|_| wrong)
}

fn check_time(parameters: &Parameters, now: OffsetDateTime) -> Result<(), Refusal> {
    let unreadable = Refusal::AuthenticationFailed("st and se have to be times in UTC.");
    let start = parameters.get("st");
    if !start.is_empty() && time(start).ok_or(unreadable)? > now {
        return Err(Refusal::AuthenticationFailed(
            "Signature not valid in the specified time frame: it is too early.",
        ));
    }
    match parameters.get("se") {
        "" => Err(Refusal::AuthenticationFailed(
            "se is missing; stored access policies are not kept here.",
        )),
        end if time(end).ok_or(unreadable)? <= now => Err(Refusal::AuthenticationFailed(
            "Signature not valid in the specified time frame: it has expired.",
        )),
        _ => Ok(()),
    }
}

/// What is signed for a container or blob. Each version of the service added some fields.
fn service_text(account: &str, parameters: &Parameters, resource: Resource<'_>) -> String {
    let version = parameters.get("sv");
    let since = |added: &str, names: &'static [&'static str]| if version >= added { names } else { &[] };
    let blob = resource.blob.map(|blob| format!("/{blob}")).unwrap_or_default();
    let service = if version >= "2015-02-21" { "/blob" } else { "" };
    let canonical = format!("{service}/{account}/{}{blob}", resource.container);
    let mut fields = ["sp", "st", "se"].map(|name| parameters.get(name)).to_vec();
    fields.push(&canonical);
    let rest = [
        since("2012-02-12", &["si"]),
        since("2015-04-05", &["sip", "spr"]),
        since("2012-02-12", &["sv"]),
        since("2018-11-09", &["sr", "snapshot"]),
        since("2020-12-06", &["ses"]),
        since("2013-08-15", &["rscc", "rscd", "rsce", "rscl", "rsct"]),
    ];
    fields.extend(rest.into_iter().flatten().map(|name| parameters.get(name)));
    fields.join("\n")
}

/// What is signed for the whole account.
fn account_text(parameters: &Parameters) -> String {
    let names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"];
    let mut text = format!("{}\n", Account::NAME);
    let added = (parameters.get("sv") >= "2020-12-06").then_some("ses");
    for name in names.into_iter().chain(added) {
        text.push_str(parameters.get(name));
        text.push('\n');
    }
    text
}

/// A date, or a date and time in UTC with or without seconds.
fn time(text: &str) -> Option<OffsetDateTime> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time);
    }
    let minutes = format_description!("[year]-[month]-[day]T[hour]:[minute]Z");
    if let Ok(time) = PrimitiveDateTime::parse(text, minutes) {
        return Some(time.assume_utc());
    }
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    Some(date.midnight().assume_utc())
}

const SECONDS: &[time::format_description::BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The version that signatures of this account are made for.
const VERSION: &str = "2022-11-02";

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// The signatures below were made with this key by Microsoft's storage libraries for JavaScript and Python.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn check(query: &str, operation: &Operation, blob: Option<&str>) -> Result<String, Refusal> {
        let resource = Resource {
            container: "exports",
            blob,
        };
        verify(
            &Parameters::parse(query),
            operation,
            resource,
            &Key::parse(KEY).unwrap(),
            NOW,
        )
    }

    #[test]
    fn signatures_of_every_version_hold_for_a_container() {
        for query in [
            "sv=2015-04-05&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=39X%2BUQ0B1Gzs83eiJ4xY%2FfE8rMLKUQ6qhkHPASR7TI0%3D",
            "sv=2018-03-28&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=fz75a9Z9z2Av6rURfnydby7Co0qU4NorfRnl5ze20uM%3D",
            "sv=2018-11-09&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=plfNVAVT8igvbveRXqKias0dR8ehQzQ56vQkVDHpoSI%3D",
            "sv=2020-10-02&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=EAm92%2B2aDai2CeXZg1NMBxzhWfmuxzbO%2BEJewpSGBdw%3D",
            "sv=2020-12-06&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=FrNuPprBQE4ega1eM4t29QFSaJ9VAFSMAodQnRRc6Us%3D",
            "sv=2026-10-06&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=PwhHZXE6zM9pTr2VWHHhAdKXB03BRnOgnih0kDQwtTM%3D",
        ] {
            assert_eq!(
                check(query, &Operation::PutBlob, Some("devices.txt")).as_deref(),
                Ok("rcwdl"),
                "{query}"
            );
            assert_eq!(
                check(query, &Operation::ListBlobs, None).as_deref(),
                Ok("rcwdl"),
                "{query}"
            );
            let refused = check(query, &Operation::CreateContainer, None);
            assert_eq!(refused, Err(Refusal::AuthorizationResourceTypeMismatch));
        }
    }

    #[test]
    fn signatures_for_a_blob_hold_for_it_alone() {
        let read_write = "sv=2026-10-06&spr=https&st=2020-01-01T00%3A00%3A00Z&se=2100-01-01T00%3A00%3A00Z&sr=b&sp=rw&rsct=text%2Fplain&sig=kIKBwulVFIBk5Q4HljkUMw6Dl1JxJTVWmoVHwLlK18c%3D";
        let create =
            "se=2100-01-01T00%3A00%3A00Z&sp=c&sv=2026-10-06&sr=b&sig=JxjeRmn9l1v/umSw2enpgqmsUqsLUoSUkS6j/swRyuE%3D";
        let (blob, get) = (Some("a b/ü.txt"), &Operation::GetBlob);
        assert_eq!(check(read_write, get, blob).as_deref(), Ok("rw"));
        assert_eq!(check(create, &Operation::PutBlob, blob).as_deref(), Ok("c"));
        assert_eq!(check(create, get, blob), Err(Refusal::AuthorizationPermissionMismatch));
        assert!(matches!(
            check(read_write, get, Some("a b")),
            Err(Refusal::AuthenticationFailed(_))
        ));
    }

    #[test]
    fn signatures_for_the_account_make_containers() {
        let query = "sv=2026-10-06&ss=b&srt=sco&se=2100-01-01T00%3A00%3A00Z&sp=rwdlac&sig=UCqTnF5hZcBwUweM0vZJmNsGvx0ZqMm%2FjwUPfydPJGA%3D";
        assert!(check(query, &Operation::CreateContainer, None).is_ok());
        assert!(check(query, &Operation::DeleteBlob, Some("x")).is_ok());
        let query = "se=2100-01-01T00%3A00%3A00Z&sp=c&sv=2026-10-06&ss=b&srt=c&sig=%2BUE33KvxGf596FDPq3sizvyJGVi5kzfYhd31J6bqJJk%3D";
        assert!(check(query, &Operation::CreateContainer, None).is_ok());
        let refused = check(query, &Operation::PutBlob, Some("x"));
        assert_eq!(refused, Err(Refusal::AuthorizationResourceTypeMismatch));
    }

    #[test]
    fn what_was_changed_or_is_over_does_not_hold() {
        let good = "sv=2020-12-06&se=2100-01-01T00%3A00%3A00Z&sr=c&sp=rcwdl&sig=FrNuPprBQE4ega1eM4t29QFSaJ9VAFSMAodQnRRc6Us%3D";
        for (from, to) in [
            ("sp=rcwdl", "sp=racwdl"),
            ("2100", "2101"),
            ("sr=c", "sr=b"),
            ("sr=c", "sr=s"),
            ("2020-12-06", "2020-10-02"),
            ("2020-12-06", "x"),
            ("sig=F", "sig=G"),
            ("sig=F", "sig=!"),
        ] {
            let refused = check(&good.replacen(from, to, 1), &Operation::GetBlob, Some("x"));
            assert!(
                matches!(refused, Err(Refusal::AuthenticationFailed(_))),
                "{from} -> {to}: {refused:?}"
            );
        }
        let key = Key::parse(KEY).unwrap();
        let resource = Resource {
            container: "exports",
            blob: None,
        };
        let query = ServiceSas::new(resource, "r", NOW).sign(&key);
        assert!(
            matches!(check(&query, &Operation::GetBlob, Some("x")), Err(Refusal::AuthenticationFailed(why)) if why.contains("expired"))
        );
    }

    #[test]
    fn times_are_read_in_every_form() {
        for (text, expected) in [
            ("2026-01-01", datetime!(2026-01-01 00:00 UTC)),
            ("2026-01-01T10:20Z", datetime!(2026-01-01 10:20 UTC)),
            ("2026-01-01T10:20:30Z", datetime!(2026-01-01 10:20:30 UTC)),
            ("2026-01-01T10:20:30.0000000Z", datetime!(2026-01-01 10:20:30 UTC)),
        ] {
            assert_eq!(time(text), Some(expected), "{text}");
        }
        assert_eq!(time("tomorrow"), None);
    }
}
