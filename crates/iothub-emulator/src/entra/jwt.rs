use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use iothub_core::Result;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::rsa_key::RsaKey;

/// A JSON Web Token in compact form (RFC 7519), taken apart but not yet believed.
#[derive(Debug)]
pub(crate) struct Jwt<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// `None` if the text is no such token.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed: signed.as_bytes(),
            signature: BASE64URL.decode(signature).ok()?,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// A claim that is a point in time, in seconds since 1970, with or without a fraction.
    pub(crate) fn time(&self, name: &str) -> Option<OffsetDateTime> {
        let number = self.claims.get(name)?;
        // Floating point loses nothing of the whole seconds of some thousand years.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what does not fit becomes a time that is refused"
        )]
        let seconds = number.as_i64().or_else(|| Some(number.as_f64()? as i64))?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    }

    /// Whom the token is for: one name or several.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        }
    }

    /// What the signature covers.
    pub(crate) fn signed(&self) -> &'a [u8] {
        self.signed
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// A token of these claims, signed with RS256.
pub(crate) fn sign(claims: &Value, key: &RsaKey) -> Result<String> {
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "kid": key.id(), "x5t": key.id() });
    let mut token = format!(
        "{}.{}",
        BASE64URL.encode(header.to_string()),
        BASE64URL.encode(claims.to_string())
    );
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    BASE64URL.encode_string(signature, &mut token);
    Ok(token)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_token_of_the_rfc_is_taken_apart() {
        // RFC 7515, appendix A.1.
        let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let token = Jwt::parse(text).unwrap();
        assert_eq!((token.header("alg"), token.claim("iss")), (Some("HS256"), Some("joe")));
        assert_eq!(token.time("exp"), Some(datetime!(2011-03-22 18:43 UTC)));
        assert!(token.audiences().is_empty());
        assert_eq!(token.signed(), &text.as_bytes()[..text.len() - 44]);
        assert_eq!(token.signature().len(), 32);
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in [
            "",
            "a",
            "a.b",
            "a.b.c",
            "..",
            "e30.e30",
            "e30.W10.",
            "e30.e30.!",
            "e30.e30.e30.e30",
            "bnVsbA.e30.e30",
        ] {
            assert!(Jwt::parse(text).is_none(), "{text}");
        }
    }
}
