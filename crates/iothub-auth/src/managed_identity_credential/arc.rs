use std::path::{Component, Path, PathBuf};

use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        RawResponse, Request, StatusCode,
        headers::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
};
use zeroize::Zeroizing;

/// Puts the answer to the agent's challenge into `request`.
///
/// The agent names a file that only administrators and members of its group can read; its contents prove that we are
/// one. The name comes over plain HTTP, so that no file outside of the agent's own directory is touched.
/// <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>
pub(super) fn answer_challenge(response: &RawResponse, request: &mut Request) -> Result<()> {
    answer(response, request, &directory())
}

fn answer(response: &RawResponse, request: &mut Request, directory: &Path) -> Result<()> {
    if response.status() != StatusCode::Unauthorized {
        return Err(refused(format!(
            "it answered {} instead of a challenge",
            response.status()
        )));
    }
    let challenge = response
        .headers()
        .get_optional_str(&WWW_AUTHENTICATE)
        .unwrap_or_default();
    let path = challenge
        .strip_prefix("Basic realm=")
        .map(|path| PathBuf::from(path.trim_matches('"')))
        .ok_or_else(|| refused("its challenge is not `Basic realm={file}`".to_owned()))?;
    let is_plain = path
        .components()
        .all(|part| !matches!(part, Component::ParentDir | Component::CurDir));
    if path.parent() != Some(directory) || path.extension().is_none_or(|it| it != "key") || !is_plain {
        let (path, directory) = (path.display(), directory.display());
        return Err(refused(format!(
            "it names `{path}`, which is not a .key file in {directory}"
        )));
    }
    let unreadable = |why: String| {
        let path = path.display();
        refused(format!(
            "`{path}` cannot be read: {why} (is this user in the group himds?)"
        ))
    };
    let size = std::fs::metadata(&path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > MAX_KEY_BYTES {
        return Err(refused(format!(
            "`{}` is larger than {MAX_KEY_BYTES} bytes",
            path.display()
        )));
    }
    let key = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let key = Zeroizing::new(key);
    request.insert_header(AUTHORIZATION, format!("Basic {}", key.trim()));
    Ok(())
}

fn directory() -> PathBuf {
    if cfg!(windows) {
        let data = std::env::var_os("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into());
        return PathBuf::from(data).join("AzureConnectedMachineAgent").join("Tokens");
    }
    PathBuf::from("/var/opt/azcmagent/tokens")
}

fn refused(why: String) -> Error {
    Error::with_message_fn(ErrorKind::Credential, || {
        format!("the Azure Arc agent is not to be trusted: {why}")
    })
}

const MAX_KEY_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, headers::Headers};

    use super::*;

    fn challenged(realm: &str, directory: &Path) -> Result<Option<String>> {
        let mut headers = Headers::new();
        headers.insert(WWW_AUTHENTICATE, format!("Basic realm={realm}"));
        let response = RawResponse::from_bytes(StatusCode::Unauthorized, headers, "");
        let mut request = Request::new("http://localhost:40342/".parse().unwrap(), Method::Get);
        answer(&response, &mut request, directory)?;
        Ok(request.headers().get_optional_str(&AUTHORIZATION).map(str::to_owned))
    }

    #[test]
    fn the_named_file_is_the_answer() {
        let directory = std::env::temp_dir().join(format!("arc-{}", azure_core::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("challenge.key");
        std::fs::write(&path, "the challenge\n").unwrap();

        let authorization = challenged(path.to_str().unwrap(), &directory);

        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(authorization.unwrap().as_deref(), Some("Basic the challenge"));
    }

    #[test]
    fn no_other_file_is_read() {
        let directory = std::env::temp_dir();
        for path in [
            "/etc/shadow",
            "/etc/host.key",
            &directory.join("secret.txt").display().to_string(),
            &directory.join("sub/a.key").display().to_string(),
            &directory.join("../etc/a.key").display().to_string(),
            "",
        ] {
            let error = challenged(path, &directory).unwrap_err().to_string();
            assert!(error.contains("which is not a .key file in"), "{path}: {error}");
        }
    }
}
