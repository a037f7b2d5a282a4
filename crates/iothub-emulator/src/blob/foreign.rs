use bytes::Bytes;
use futures::future::BoxFuture;
use iothub_core::HubErrorCode;
use time::{Duration, OffsetDateTime};
use url::Url;

use super::{
    client::{Access, BlobClient, StorageError},
    options::FileUploadOptions,
    sas::{Resource, ServiceSas},
};
use crate::hub::{
    Clock, Failure,
    authentication::Key,
    uploads::{FilePlace, FileStore, StoredFile},
};

/// The files of devices in a container of somebody else's storage account.
pub(crate) struct ForeignFiles {
    account: ForeignAccount,
    container: String,
    client: BlobClient,
    clock: Clock,
}

/// What a connection string says of an account. It has no `Debug`, because of the key.
pub(super) struct ForeignAccount {
    name: String,
    key: Key,
    endpoint: Url,
}

impl ForeignFiles {
    /// # Errors
    ///
    /// The options name no container that could be used.
    pub(crate) fn new(options: &FileUploadOptions, client: BlobClient, clock: Clock) -> Result<Self, StorageError> {
        let account = ForeignAccount::parse(options.connection_string.secret()).map_err(StorageError::new)?;
        let files = Self {
            account,
            container: options.container.clone(),
            client,
            clock,
        };
        files.client.container(files.uri("").as_str(), Access::Signature)?;
        Ok(files)
    }

    /// Of a blob, or of the container if there is no name.
    fn uri(&self, blob: &str) -> Url {
        let mut uri = self.account.endpoint.clone();
        if let Ok(mut path) = uri.path_segments_mut() {
            path.pop_if_empty().push(&self.container);
            path.extend(blob.split('/').filter(|segment| !segment.is_empty()));
        }
        uri
    }

    fn sas(&self, blob: &str, permissions: &str, expires: OffsetDateTime) -> String {
        let resource = Resource {
            container: &self.container,
            blob: Some(blob),
        };
        let protocols = match self.account.endpoint.scheme() {
            "https" => "https",
            _ => "https,http",
        };
        ServiceSas::new(resource, permissions, expires)
            .of(&self.account.name, protocols)
            .sign(&self.account.key)
    }

    async fn find(&self, blob: &str) -> Result<Option<StoredFile>, StorageError> {
        let sas = self.sas(blob, "r", self.clock.now() + LOOK);
        let container = format!("{}?{sas}", self.uri(""));
        let found = self
            .client
            .container(&container, Access::Signature)?
            .look_up(blob)
            .await?;
        Ok(found.map(|(size, modified)| StoredFile {
            uri: self.uri(blob).into(),
            size,
            modified,
        }))
    }
}

impl FileStore for ForeignFiles {
    fn place(&self, blob: &str, expires: OffsetDateTime) -> FilePlace {
        let endpoint = self.account.endpoint.as_str();
        let (_, host) = endpoint.split_once("://").unwrap_or(("", endpoint));
        FilePlace {
            host: host.trim_end_matches('/').to_owned(),
            container: self.container.clone(),
            sas_token: format!("?{}", self.sas(blob, "rw", expires)),
        }
    }

    fn look_up<'a>(&'a self, blob: &'a str) -> BoxFuture<'a, Result<Option<StoredFile>, Failure>> {
        Box::pin(async move {
            let found = self.find(blob).await;
            found.map_err(|error| Failure::new(HubErrorCode::InvalidStorageEndpointOrBlob, error.to_string()))
        })
    }

    fn write(&self, _: &str, _: Bytes) -> Result<StoredFile, Failure> {
        Err(Failure::argument(
            "devices in this process upload into the emulator's own storage account, and file_uploads names another",
        ))
    }
}

impl ForeignAccount {
    /// Reads a connection string. What is wrong is said without what stands there, which may be a key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let pairs: Vec<(&str, &str)> = text.split(';').filter_map(|pair| pair.split_once('=')).collect();
        let field = |name: &str| {
            let found = pairs.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let needed = |name: &str| field(name).ok_or_else(|| format!("the connection string has no {name}"));
        let name = needed("AccountName")?;
        let key = Key::parse(needed("AccountKey")?).map_err(|failure| format!("AccountKey: {}", failure.message))?;
        let endpoint = match field("BlobEndpoint") {
            Some(endpoint) => endpoint.to_owned(),
            None => {
                let protocol = field("DefaultEndpointsProtocol").unwrap_or("https");
                let suffix = field("EndpointSuffix").unwrap_or("core.windows.net");
                format!("{protocol}://{name}.blob.{suffix}")
            }
        };
        let mut endpoint: Url = endpoint.parse().map_err(|_| "BlobEndpoint is not a URI")?;
        if endpoint.cannot_be_a_base() {
            return Err("BlobEndpoint is not the URI of an account".to_owned());
        }
        // A signature that stands there would be in every place that a device is told of.
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        Ok(Self {
            name: name.to_owned(),
            key,
            endpoint,
        })
    }
}

/// For how long a look at a blob is signed.
const LOOK: Duration = Duration::minutes(15);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    #[test]
    fn a_connection_string_says_where_the_account_is() {
        for (text, expected) in [
            (
                format!("DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY};EndpointSuffix=core.example"),
                "https://a.blob.core.example/",
            ),
            (
                format!("accountname = a ; AccountKey={KEY};"),
                "https://a.blob.core.windows.net/",
            ),
            (
                format!("AccountName=a;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10000/a?sv=secret"),
                "http://127.0.0.1:10000/a",
            ),
        ] {
            let account = ForeignAccount::parse(&text).unwrap();
            assert_eq!((account.name.as_str(), account.endpoint.as_str()), ("a", expected));
            assert_eq!(account.key.to_base64(), KEY);
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        for (text, expected) in [
            ("", "has no AccountName"),
            ("AccountName=a", "has no AccountKey"),
            ("AccountName=a;AccountKey=c2VjcmV0", "16 to 64 bytes"),
            (
                "AccountName=a;AccountKey=AAECAwQFBgcICQoLDA0ODw==;BlobEndpoint=nowhere",
                "not a URI",
            ),
            (
                "AccountName=a;AccountKey=AAECAwQFBgcICQoLDA0ODw==;BlobEndpoint=mailto:x",
                "not the URI of an account",
            ),
        ] {
            let Err(error) = ForeignAccount::parse(text) else {
                panic!("{text:?} was taken");
            };
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("c2VjcmV0") && !error.contains("AAEC"), "{error}");
        }
    }
}
