use std::{collections::BTreeMap, path::PathBuf};

use azure_core::{
    credentials::{AccessToken, TokenCredential},
    http::{StatusCode, Url},
};
use iothub_auth::Environment;
use iothub_core::{
    Result,
    testing::{HttpAnswer, ScriptedHttp, SeenRequest},
};

pub(crate) const SCOPE: &str = "https://iothubs.azure.net/.default";

/// What Entra's token endpoint answers.
pub(crate) fn token(text: &str) -> HttpAnswer {
    let body = format!(r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"{text}"}}"#);
    HttpAnswer::new(StatusCode::Ok, body)
}

/// How Entra's token endpoint refuses.
pub(crate) fn refusal(code: u32, text: &str) -> HttpAnswer {
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS{code}: {text}","error_codes":[{code}],"correlation_id":"c"}}"#
    );
    HttpAnswer::new(StatusCode::Unauthorized, body)
}

pub(crate) async fn ask(credential: &dyn TokenCredential) -> Result<AccessToken> {
    credential.get_token(&[SCOPE], None).await
}

pub(crate) async fn text(credential: &dyn TokenCredential) -> String {
    ask(credential).await.unwrap().token.secret().to_owned()
}

/// The fields of a form.
pub(crate) fn form(request: &SeenRequest) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(&request.body).unwrap();
    let url = Url::parse(&format!("https://form/?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}

pub(crate) fn only_request(http: &ScriptedHttp) -> SeenRequest {
    let [request] = <[SeenRequest; 1]>::try_from(http.requests()).unwrap();
    request
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata")).join(name)
}

pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (*name, *value)).collect()
}

/// A file that is gone when the test is.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn holding(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iothub-auth-{}", azure_core::Uuid::new_v4()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
