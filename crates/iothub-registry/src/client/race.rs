//! What reading, changing and writing back has to know while others write.

use std::fmt::Display;

use azure_core::error::ErrorKind;
use iothub_core::{CallFacts, Error, HubError, HubErrorCode};

/// The rounds after the first one.
pub(super) fn rounds(wanted: Option<u32>) -> std::ops::Range<u32> {
    1..wanted.unwrap_or(ROUNDS)
}

/// Whether somebody else has written in between. If an earlier try of the same write got no answer, nobody knows whether
/// it was somebody else.
pub(super) fn lost(error: &Error) -> bool {
    let code = HubError::of(error).map(|hub| &hub.code);
    let maybe_applied = CallFacts::of(error).is_some_and(|facts| facts.maybe_applied);
    code == Some(&HubErrorCode::PreconditionFailed) && !maybe_applied
}

pub(super) fn renamed(what: &str, asked: &impl Display, made: &impl Display) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!("the change turned {what} `{asked}` into `{made}`: an id cannot change")
    })
}

/// Each round is lost to a write that took place, so ten lost ones in a row mean a record that many fight for.
const ROUNDS: u32 = 10;

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_core::{
        ModuleId, Result,
        models::{DeviceStatus, Module},
        testing::{HttpAnswer, ScriptedHttp},
    };

    use super::*;
    use crate::{
        ModifyDeviceOptions,
        scripted::{code, refusal, registry},
    };

    #[tokio::test]
    async fn a_lost_race_is_run_again_with_what_is_stored_then() -> Result<()> {
        let http = ScriptedHttp::new([device("MQ=="), stale(), device("Mg=="), device("Mw==")]);
        let id = "lamp".parse()?;
        let mut seen = Vec::new();
        let change = |lamp: &mut iothub_core::models::Device| {
            seen.push(lamp.etag.take());
            lamp.status = DeviceStatus::Disabled;
        };
        let written = registry(&http).modify_device(&id, change, None).await?;

        assert_eq!(written.etag, Some("Mw==".into()));
        assert_eq!(seen, [Some("MQ==".into()), Some("Mg==".into())]);
        let requests = http.requests();
        let conditions: Vec<_> = requests.iter().map(|seen| seen.header("if-match")).collect();
        assert_eq!(conditions, [None, Some("\"MQ==\""), None, Some("\"Mg==\"")]);
        Ok(())
    }

    #[tokio::test]
    async fn what_does_not_change_is_not_written() -> Result<()> {
        let http = ScriptedHttp::new([device("MQ=="), module()]);
        let registry = registry(&http);
        registry.modify_device(&"lamp".parse()?, |_| {}, None).await?;
        registry.modify_module(&dimmer(), |_| {}, None).await?;
        assert_eq!(http.seen().len(), 2);
        Ok(())
    }

    #[tokio::test]
    async fn rounds_come_to_an_end() -> Result<()> {
        for (rounds, requests) in [(Some(0), 2), (Some(1), 2), (Some(3), 6), (None, 20)] {
            let answers = (0..20).flat_map(|_| [device("MQ=="), stale()]);
            let http = ScriptedHttp::new(answers);
            let options = ModifyDeviceOptions {
                rounds,
                ..ModifyDeviceOptions::default()
            };
            let disable = |lamp: &mut iothub_core::models::Device| lamp.status = DeviceStatus::Disabled;
            let error = registry(&http)
                .modify_device(&"lamp".parse()?, disable, Some(options))
                .await
                .unwrap_err();
            assert_eq!(code(&error), Some(&HubErrorCode::PreconditionFailed));
            assert_eq!(http.seen().len(), requests, "{rounds:?}");
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_that_may_have_been_won_is_not_run_again() -> Result<()> {
        let http = ScriptedHttp::new([module(), HttpAnswer::Lost, stale()]);
        let change = |module: &mut Module| module.managed_by = Some("me".to_owned());
        let error = registry(&http)
            .modify_module(&dimmer(), change, None)
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::PreconditionFailed));
        assert!(CallFacts::of(&error).unwrap().maybe_applied);
        assert_eq!(http.seen().len(), 3);
        Ok(())
    }

    #[tokio::test]
    async fn an_id_does_not_change() -> Result<()> {
        let http = ScriptedHttp::new([device("MQ==")]);
        let rename = |lamp: &mut iothub_core::models::Device| lamp.device_id = "torch".parse().unwrap();
        let error = registry(&http)
            .modify_device(&"lamp".parse()?, rename, None)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the change turned device `lamp` into `torch`: an id cannot change"
        );
        assert_eq!(http.seen().len(), 1);
        Ok(())
    }

    fn device(etag: &str) -> HttpAnswer {
        HttpAnswer::new(
            StatusCode::Ok,
            format!(r#"{{"deviceId":"lamp","status":"enabled","etag":"{etag}"}}"#),
        )
    }

    fn module() -> HttpAnswer {
        HttpAnswer::new(
            StatusCode::Ok,
            r#"{"deviceId":"lamp","moduleId":"dimmer","etag":"MQ=="}"#,
        )
    }

    fn dimmer() -> ModuleId {
        ModuleId::new("lamp".parse().unwrap(), "dimmer").unwrap()
    }

    fn stale() -> HttpAnswer {
        refusal(StatusCode::PreconditionFailed, "PreconditionFailed")
    }
}
