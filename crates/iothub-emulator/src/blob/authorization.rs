use http::{HeaderMap, header::AUTHORIZATION};

use super::{
    account::Account,
    operation::Operation,
    refusal::Refusal,
    sas::{self, Parameters, Resource},
};

/// That a request may do what it asks for.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// Whoever may create but not write can put only what is not there.
    pub(super) may_overwrite: bool,
}

/// Checks the signature in the query, or the bearer token in the header.
pub(super) fn authorize(
    account: &Account,
    headers: &HeaderMap,
    query: &Parameters,
    operation: &Operation,
    resource: Resource<'_>,
) -> Result<Allowed, Refusal> {
    if !query.get("sig").is_empty() {
        let permissions = sas::verify(query, operation, resource, &account.key(), account.now())?;
        return Ok(Allowed {
            may_overwrite: permissions.contains('w'),
        });
    }
    let header = headers.get(AUTHORIZATION).ok_or(Refusal::NoAuthenticationInformation)?;
    let token = header.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = token.ok_or(Refusal::AuthenticationFailed(
        "Only shared access signatures and bearer tokens are taken here.",
    ))?;
    match account.entra().verify_for_storage(token, account.now()) {
        Ok(true) => Ok(Allowed { may_overwrite: true }),
        Ok(false) => Err(Refusal::AuthorizationFailure),
        Err(why) => Err(Refusal::AuthenticationFailed(why)),
    }
}
