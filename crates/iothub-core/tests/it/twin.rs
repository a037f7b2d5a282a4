use azure_core::{
    http::{Etag, RawResponse, Response, StatusCode, headers::Headers},
    time::OffsetDateTime,
};
use iothub_core::{Result, models::*};
use serde::Deserialize;
use serde_json::{Value, json};
use time::macros::datetime;

use crate::wire::file;

fn twin(json: &str) -> Twin {
    Twin::from_json(json.to_owned()).unwrap()
}

#[test]
fn a_twin_tells_what_the_hub_told() -> Result<()> {
    let twin = twin(&file("twin-module"));
    assert_eq!((twin.device_id(), twin.module_id()), ("gateway-7", Some("filter")));
    assert_eq!(twin.model_id(), Some("dtmi:com:example:Filter;1"));
    assert_eq!(twin.etag(), Some(Etag::from("AAAAAAAAAAM=")));
    assert_eq!(twin.device_etag(), Some(Etag::from("Mg==")));
    assert_eq!(twin.version(), Some(4));
    assert_eq!(twin.status(), &DeviceStatus::Enabled);
    assert_eq!(twin.status_updated_time(), None);
    assert_eq!(twin.connection_state(), &ConnectionState::Connected);
    assert_eq!(twin.last_activity_time(), Some(datetime!(2026-02-03 04:05:07.12 UTC)));
    assert_eq!(twin.authentication_type(), Some(&AuthenticationType::SelfSigned));
    assert_eq!(
        twin.x509_thumbprints().primary.as_deref(),
        Some("2CB3F2D6F9B0C2E0A8F5D0B7E6C1A49378D5E021")
    );
    let configurations = twin.configurations()?;
    assert_eq!(configurations["slow"].status, ConfigurationStatus::Applied);
    assert_eq!(configurations["fast"].status, ConfigurationStatus::Targeted);
    assert!(twin.tags().is_empty() && !twin.desired().is_empty());
    Ok(())
}

#[test]
fn sections_keep_numbers_and_dates_byte_for_byte() -> Result<()> {
    let desired = twin(&file("twin-module"));
    let desired = desired.desired();
    assert_eq!(desired.raw("ratio")?, Some("1.0"));
    assert_eq!(desired.raw("small")?, Some("1e-7"));
    assert_eq!(desired.raw("since")?, Some(r#""2026-01-01T00:00:00.0000000Z""#));
    assert_eq!(desired.raw("nothing.at.all")?, None);
    Ok(())
}

#[test]
fn metadata_and_version_are_reachable_and_stay_out_of_the_content() -> Result<()> {
    let twin = twin(&file("twin"));
    let desired = twin.desired();
    assert_eq!((desired.version(), twin.tags().version()), (Some(2), None));
    let part = desired.metadata()?.get("t").cloned().unwrap();
    let at: OffsetDateTime = datetime!(2026-01-01 00:00:00.1234567 UTC);
    assert_eq!((part.last_updated, part.last_updated_version), (Some(at), Some(2)));
    assert_eq!(twin.reported().metadata()?.last_updated, None);
    let content = serde_json::to_value(twin.content()?).unwrap();
    assert_eq!(
        content,
        json!({ "tags": { "site": "a" }, "properties": { "desired": { "t": 5 } } })
    );
    Ok(())
}

#[test]
fn a_part_that_is_not_of_the_type_is_named() {
    #[derive(Debug, Deserialize)]
    struct Fan {
        #[expect(dead_code, reason = "only its type matters")]
        speed: u8,
    }

    let twin = twin(r#"{"deviceId":"lamp","tags":{"fan":{"speed":"fast"}}}"#);
    let error = twin.tags().get::<Fan>("fan").unwrap_err().to_string();
    assert!(error.contains("`fan` in the tags of `lamp`"), "{error}");
    assert!(twin.tags().get::<Fan>("heater").unwrap().is_none());
}

#[test]
fn escapes_and_unknown_members_survive() -> Result<()> {
    let json = r#" { "device\u0049d" : "a\u002Bb" , "statusReason":"\"so\"","propertie\u0073":{"desired":{"\u0061":1}},
        "parentScopes":["x:\/\/1","x2"],"attributes":{"n":1.0}, "modelId":"" } "#;
    let twin = twin(json);
    assert_eq!(
        (twin.device_id(), twin.status_reason(), twin.model_id()),
        ("a+b", Some("\"so\""), None)
    );
    assert_eq!(twin.desired().get::<i32>("a")?, Some(1));
    assert_eq!(twin.parent_scopes().collect::<Vec<_>>(), ["x://1", "x2"]);
    assert_eq!(twin.get::<Value>("attributes")?, Some(json!({ "n": 1.0 })));
    assert_eq!(twin.as_str(), json.trim());
    assert_eq!(serde_json::to_string(&twin).unwrap(), json.trim());
    Ok(())
}

#[test]
fn each_twin_of_a_page_has_its_own_text() -> Result<()> {
    let members = [
        "",
        r#","properties":{}"#,
        r#","properties": null "#,
        r#","tags":{"a":{}},"properties":{"desired":{ } } "#,
    ];
    let texts: Vec<String> = (0..)
        .zip(members)
        .map(|(n, members)| format!(r#"{{"deviceId":"d{n}"{members}}}"#))
        .collect();
    let page = TwinPage::from_json(format!(" [ {} ] ", texts.join(" , ")))?;
    let read: Vec<&str> = page.twins.iter().map(Twin::as_str).collect();
    assert_eq!(read, texts);
    assert_eq!(page.twins[3].detached(), page.twins[3]);
    assert_eq!(page.twins[3].tags().as_str(), r#"{"a":{}}"#);
    assert!(TwinPage::from_json("[]")?.twins.is_empty());
    Ok(())
}

#[test]
fn what_is_no_twin_is_refused() {
    for bad in [
        "",
        "[]",
        "{}",
        "null",
        "{\"deviceId\":1}",
        "{\"deviceId\":\"d\"} x",
        "{\"deviceId\":\"d\"",
        "{\"deviceId\":\"d\",\"version\":\"x\"}",
    ] {
        assert!(Twin::from_json(bad).is_err(), "{bad}");
    }
    assert!(Twin::from_json(&b"{\"deviceId\":\"\xff\"}"[..]).is_err());
    assert!(TwinPage::from_json(r#"[{"deviceId":"d"},{}]"#).is_err());
}

#[test]
fn answers_of_the_pipeline_become_twins_without_a_copy() -> Result<()> {
    let body = file("twin");
    let raw = |body: String| RawResponse::from_bytes(StatusCode::Ok, Headers::new(), body);
    let one: Response<Twin, TwinFormat> = raw(body.clone()).into();
    assert_eq!(one.into_model()?.device_id(), "d1");
    let page: Response<TwinPage, TwinFormat> = raw(format!("[{body}]")).into();
    assert_eq!(page.into_model()?.twins.len(), 1);
    let copy: Response<Twin> = raw(body).into();
    assert_eq!(copy.into_model()?.version(), Some(3));
    Ok(())
}

#[test]
fn a_twin_does_not_print_what_belongs_to_the_application() {
    let twin = twin(r#"{"deviceId":"lamp","tags":{"owner":"somebody"}}"#);
    let shown = format!("{twin:?} {:?}", twin.tags());
    assert!(shown.contains("lamp") && !shown.contains("somebody"), "{shown}");
}

/// Reading without parsing is what makes a million twins affordable; an allocation too many shows here first.
#[test]
fn twins_are_slices_of_the_answer_that_brought_them() {
    let json = include_str!("../../testdata/twins/large.json");
    let body = json.to_owned();
    let mut twin = None;
    let one = allocation_counter::measure(|| twin = Some(Twin::from_json(body)));
    assert_eq!(twin.unwrap().unwrap().desired().version(), Some(7));
    assert!(one.count_total <= 4, "{one:?}");

    let body = format!("[{}]", [json; 100].join(","));
    let mut page = None;
    let hundred = allocation_counter::measure(|| page = Some(TwinPage::from_json(body)));
    assert_eq!(page.unwrap().unwrap().twins.len(), 100);
    assert!(hundred.count_total <= 210, "{hundred:?}");
}
