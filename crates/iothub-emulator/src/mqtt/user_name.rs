use std::borrow::Cow;

use crate::hub::{Failure, Target, sas::percent_decode};

/// What a client says in the user name of its CONNECT.
#[derive(Debug, PartialEq)]
pub(super) struct UserName<'a> {
    /// The hub that the client thinks it talks to.
    pub(super) host: &'a str,
    /// The model of Plug and Play that the device follows.
    pub(super) model_id: Option<String>,
}

impl<'a> UserName<'a> {
    /// Reads `{host}/{device}[/{module}]/?api-version=…[&…]`, in which the device has to be `target`.
    ///
    /// The question mark may be missing, as old clients have it. Keys that are not known are passed over, and of two
    /// that are alike the first counts.
    pub(super) fn parse(text: &'a str, target: &Target) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let text = format!("{why}: a user name is host/device/?api-version=2021-04-12, and this one {text:?}");
            Failure::unauthorized(text)
        };
        let (rest, query) = text.rsplit_once('/').ok_or_else(|| wrong("there is no slash"))?;
        let (host, ids) = rest.split_once('/').ok_or_else(|| wrong("there is no device"))?;
        let named = target.to_string();
        if ids != named && percent_decode(ids).as_deref() != Some(&*named) {
            return Err(wrong(&format!("the client id is that of {target}")));
        }
        let query = query.strip_prefix('?').unwrap_or(query);
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let value = pairs
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
                .next()?;
            percent_decode(value).map(Cow::into_owned)
        };
        if value("api-version").is_none_or(|version| version.is_empty()) {
            return Err(wrong("there is no api-version"));
        }
        let model_id = value("model-id").filter(|id| !id.is_empty());
        Ok(Self { host, model_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp() -> Target {
        Target::parse("lamp", None).unwrap()
    }

    #[test]
    fn the_sdks_are_understood() {
        let bulb = Target::parse("lamp", Some("bulb")).unwrap();
        let odd = Target::parse("a=b%", None).unwrap();
        let model = Some("dtmi:com:example:Thermostat;1".to_owned());
        for (text, target, model_id) in [
            (
                "hub.example/lamp/?api-version=2020-09-30&DeviceClientType=.NET%2F1.42",
                lamp(),
                None,
            ),
            (
                "hub.example/lamp/?api-version=2020-09-30&DeviceClientType=py&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1",
                lamp(),
                model.clone(),
            ),
            (
                "hub.example/lamp/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=node",
                lamp(),
                model,
            ),
            ("hub.example/lamp/bulb/?api-version=2021-04-12", bulb, None),
            ("hub.example/lamp/api-version=2016-11-14", lamp(), None),
            (
                "hub.example/lamp/DeviceClientType=old&api-version=2016-11-14",
                lamp(),
                None,
            ),
            ("hub.example/lamp/?what=ever&api-version=1&api-version=", lamp(), None),
            ("hub.example/a%3Db%25/?api-version=1", odd, None),
        ] {
            let host = "hub.example";
            assert_eq!(
                UserName::parse(text, &target).unwrap(),
                UserName { host, model_id },
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, why) in [
            ("", "no slash"),
            ("hub.example", "no slash"),
            ("hub.example/?api-version=1", "no device"),
            ("hub.example/door/?api-version=1", "client id is that of lamp"),
            ("hub.example/lamp/bulb/?api-version=1", "client id is that of lamp"),
            ("hub.example/lamp/", "no api-version"),
            ("hub.example/lamp/?api-version=", "no api-version"),
            ("hub.example/lamp/?api-version=&api-version=1", "no api-version"),
        ] {
            let failure = UserName::parse(text, &lamp()).unwrap_err();
            assert!(failure.message.contains(why), "{text}: {}", failure.message);
        }
    }
}
