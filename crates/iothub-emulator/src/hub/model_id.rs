//! Models of Plug and Play: a device names the one that it follows when it connects.

use super::{Failure, Hub, Session, Target};

impl Session {
    /// Takes note of the model that a device or module says it follows, such as `dtmi:com:example:Thermostat;1`.
    ///
    /// The hub remembers it when the device is gone. It never asks what is in the model.
    ///
    /// # Errors
    ///
    /// It is not the id of a model, or the session has ended.
    pub(crate) fn announce_model(&self, id: &str) -> Result<(), Failure> {
        self.active()?;
        if !is_model_id(id) {
            let text = format!("{id:?} is not the id of a model, such as dtmi:com:example:Thermostat;1");
            return Err(Failure::argument(text));
        }
        self.hub().set_model(self.target(), id)
    }
}

impl Hub {
    fn set_model(&self, target: &Target, id: &str) -> Result<(), Failure> {
        self.registry_mut().identity_mut(target)?.model_id = Some(id.into());
        Ok(())
    }
}

/// Whether the text is a digital twin model identifier, by the grammar of DTDL 3: `dtmi:`, segments between colons, and
/// mostly a version after a semicolon.
fn is_model_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("dtmi:").filter(|_| text.len() <= MAX_MODEL_ID) else {
        return false;
    };
    let (path, is_version) = match rest.split_once(';') {
        None => (rest, true),
        Some((path, version)) => match version.split_once('.') {
            None => (path, is_number(version, 9)),
            Some((major, minor)) => (path, is_number(major, 9) && is_number(minor, 6)),
        },
    };
    is_version && path.split(':').all(is_segment)
}

fn is_segment(segment: &str) -> bool {
    segment.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !segment.ends_with('_')
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_number(text: &str, digits: usize) -> bool {
    (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

/// The longest that DTDL allows.
const MAX_MODEL_ID: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two are examples of the specification of DTDL.
    #[test]
    fn ids_follow_the_grammar_of_dtdl() {
        for good in [
            "dtmi:foo_bar:_16:baz33:qux;12",
            "dtmi:com:example:Thermostat;1",
            "dtmi:a;999999999",
            "dtmi:a;1.2",
            "dtmi:a",
        ] {
            assert!(is_model_id(good), "{good}");
        }
        for bad in [
            "",
            "dtmi:",
            "urn:com:example:Thermostat:1",
            "dtmi:com:example:Thermostat;0",
            "dtmi:com:example:Thermostat;01",
            "dtmi:com:example:Thermostat;1234567890",
            "dtmi:com::Thermostat;1",
            "dtmi:com:1x;1",
            "dtmi:com:x_;1",
            "dtmi:com:ä;1",
            "dtmi:com:example:Thermostat;1 ",
        ] {
            assert!(!is_model_id(bad), "{bad}");
        }
    }
}
