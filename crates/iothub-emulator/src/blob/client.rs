use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_LENGTH, LAST_MODIFIED},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::sync::OnceCell;
use url::Url;

use super::Lines;
use crate::entra::{Application, Entra};

/// Speaks to storage accounts: those of Azure, other emulators on this machine, and this emulator's own.
#[derive(Clone)]
pub(crate) struct BlobClient(Arc<Inner>);

struct Inner {
    own_root: String,
    /// Made at the first use, because reading the platform's roots takes its time.
    http: OnceCell<Http>,
}

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How a client shows that it may.
#[derive(Clone)]
pub(crate) enum Access {
    /// The signature is in the URI.
    Signature,
    /// Tokens of this identity.
    Identity(Entra, Application),
}

/// A container in some storage account.
#[derive(Clone)]
pub(crate) struct Container {
    client: BlobClient,
    uri: Url,
    access: Access,
}

/// Why storage could not be used. It holds no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageError {
    message: String,
    /// The code of an answer.
    code: Option<String>,
}

impl BlobClient {
    /// Trusts what the platform trusts, and the root in `own_root`, which is PEM.
    pub(crate) fn new(own_root: &str) -> Self {
        Self(Arc::new(Inner {
            own_root: own_root.to_owned(),
            http: OnceCell::new(),
        }))
    }

    /// The container at this URI.
    ///
    /// # Errors
    ///
    /// It is no URI of a container, or one without encryption that leaves this machine.
    pub(crate) fn container(&self, uri: &str, access: Access) -> Result<Container, StorageError> {
        let uri: Url = uri
            .parse()
            .map_err(|error| StorageError::new(format!("not a URI: {error}")))?;
        let local = match uri.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if !(uri.scheme() == "https" || uri.scheme() == "http" && local) {
            return Err(StorageError::new("a container's URI begins with https".to_owned()));
        }
        if uri.path().trim_matches('/').is_empty() {
            return Err(StorageError::new(format!("{} names no container", shown(&uri))));
        }
        Ok(Container {
            client: self.clone(),
            uri,
            access,
        })
    }

    async fn http(&self) -> Result<&Http, StorageError> {
        let build = || async {
            let root = self.0.own_root.clone();
            let config = tokio::task::spawn_blocking(move || tls(&root)).await;
            let config = config.map_err(|error| StorageError::new(error.to_string()))??;
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(config)
                .https_or_http()
                .enable_http1()
                .build();
            Ok(Client::builder(TokioExecutor::new()).build(connector))
        };
        self.0.http.get_or_try_init(build).await
    }
}

impl Container {
    /// Writes a whole block blob.
    pub(crate) async fn put_blob(&self, name: &str, contents: Bytes) -> Result<(), StorageError> {
        let headers = [
            ("x-ms-blob-type", "BlockBlob"),
            ("x-ms-blob-content-type", "text/plain; charset=utf-8"),
        ];
        self.send(Method::PUT, name, &[], &headers, contents).await.map(drop)
    }

    /// Puts a block that a list is going to name.
    pub(super) async fn put_block(&self, name: &str, id: &str, contents: Bytes) -> Result<(), StorageError> {
        let query = [("comp", "block"), ("blockid", id)];
        self.send(Method::PUT, name, &query, &[], contents).await.map(drop)
    }

    /// Makes a blob of the blocks with these ids.
    pub(super) async fn put_block_list(&self, name: &str, ids: &[String]) -> Result<(), StorageError> {
        let latest: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let xml = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{latest}</BlockList>");
        let headers = [("x-ms-blob-content-type", "text/plain; charset=utf-8")];
        let query = [("comp", "blocklist")];
        self.send(Method::PUT, name, &query, &headers, xml.into())
            .await
            .map(drop)
    }

    /// Reads a blob line by line, while it arrives.
    pub(crate) async fn lines(&self, name: &str) -> Result<Lines, StorageError> {
        let response = self.send(Method::GET, name, &[], &[], Bytes::new()).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// Deletes a blob if there is one by this name.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), StorageError> {
        match self.send(Method::DELETE, name, &[], &[], Bytes::new()).await {
            Err(error) if error.is_blob_missing() => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// Whether there is a blob by this name.
    pub(crate) async fn has(&self, name: &str) -> Result<bool, StorageError> {
        match self.send(Method::HEAD, name, &[], &[], Bytes::new()).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_blob_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How large a blob is, and when it was last written. `None` if there is no blob by this name.
    pub(super) async fn look_up(&self, name: &str) -> Result<Option<(u64, OffsetDateTime)>, StorageError> {
        let response = match self.send(Method::HEAD, name, &[], &[], Bytes::new()).await {
            Err(error) if error.is_blob_missing() => return Ok(None),
            answered => answered?,
        };
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let size = header(CONTENT_LENGTH).and_then(|size| size.parse().ok());
        let modified = header(LAST_MODIFIED).and_then(|time| OffsetDateTime::parse(time, &Rfc2822).ok());
        let unreadable = || StorageError::new("the storage does not say how large the blob is, and how old".to_owned());
        size.zip(modified).map(Some).ok_or_else(unreadable)
    }

    async fn send(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, StorageError> {
        let mut uri = self.uri.clone();
        if let Ok(mut path) = uri.path_segments_mut() {
            path.pop_if_empty().extend(name.split('/'));
        }
        if !query.is_empty() {
            uri.query_pairs_mut().extend_pairs(query);
        }
        let about = format!("{method} {}", shown(&uri));
        let failed = |why: &dyn fmt::Display| StorageError::new(format!("{about}: {why}"));
        let mut request = Request::builder()
            .method(&method)
            .uri(uri.as_str())
            .header("x-ms-version", VERSION);
        if method == Method::PUT {
            // Storage wants to know the length, also of nothing.
            request = request.header(CONTENT_LENGTH, body.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token().await.map_err(|error| failed(&error))? {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body)).map_err(|error| failed(&error))?;
        let http = self.client.http().await?;
        let response = tokio::time::timeout(PATIENCE, http.request(request)).await;
        let response = response
            .map_err(|_| failed(&"no answer came"))?
            .map_err(|error| failed(&with_causes(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let code = response.headers().get("x-ms-error-code");
        let code = code.and_then(|code| code.to_str().ok()).map(str::to_owned);
        let message = format!(
            "{about}: {} {}",
            status.as_u16(),
            code.as_deref().unwrap_or("without a code")
        );
        // Read to its end, a connection can be used again.
        let _ = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
        Err(StorageError { message, code })
    }

    async fn token(&self) -> iothub_core::Result<Option<HeaderValue>> {
        let Access::Identity(entra, identity) = &self.access else {
            return Ok(None);
        };
        let token = entra.issue(identity, Entra::STORAGE).await?;
        Ok(HeaderValue::from_str(&format!("Bearer {token}")).ok().map(|mut token| {
            token.set_sensitive(true);
            token
        }))
    }
}

impl StorageError {
    pub(super) fn new(message: String) -> Self {
        Self { message, code: None }
    }

    fn is_blob_missing(&self) -> bool {
        self.code.as_deref() == Some("BlobNotFound")
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Container").field(&shown(&self.uri)).finish()
    }
}

fn tls(own_root: &str) -> Result<ClientConfig, StorageError> {
    let failed = |error: &dyn fmt::Display| StorageError::new(format!("setting up TLS: {error}"));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let own = CertificateDer::from_pem_slice(own_root.as_bytes()).map_err(|error| failed(&error))?;
    roots.add(own).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A URI without its query, which is where signatures stand.
fn shown(uri: &Url) -> String {
    format!("{}{}", uri.origin().ascii_serialization(), uri.path())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// What storage accounts and their emulators have understood for long.
const VERSION: &str = "2021-08-06";

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(100);
