use azure_core::{
    Bytes,
    http::{ClientOptions, Context, Method, Pipeline, RawResponse, Request, Url},
};
use iothub::Result;

/// A blob container that is reached by a URI with a signature in it: what jobs read and write.
#[derive(Debug)]
pub struct Container {
    signed: Url,
    pipeline: Pipeline,
}

impl Container {
    pub(crate) fn new(signed: &str, options: ClientOptions) -> Result<Self> {
        let pipeline = Pipeline::new(Some("examples"), None, options, Vec::new(), Vec::new(), None);
        Ok(Self {
            signed: signed.parse()?,
            pipeline,
        })
    }

    /// The URI with its signature. It is a secret.
    pub fn signed(&self) -> &str {
        self.signed.as_str()
    }

    /// The URI without the signature, for a hub that shows an identity of its own instead.
    pub fn plain(&self) -> String {
        let mut plain = self.signed.clone();
        plain.set_query(None);
        plain.into()
    }

    /// What a blob holds.
    pub async fn read(&self, name: &str) -> Result<String> {
        let blob = self.send(Request::new(self.blob(name), Method::Get)).await?;
        Ok(String::from_utf8_lossy(blob.body()).into_owned())
    }

    /// Writes a blob, whatever was there by that name.
    pub async fn write(&self, name: &str, contents: impl Into<Bytes>) -> Result<()> {
        let mut request = Request::new(self.blob(name), Method::Put);
        request.insert_header("x-ms-blob-type", "BlockBlob");
        request.set_body(contents.into());
        self.send(request).await?;
        Ok(())
    }

    async fn send(&self, mut request: Request) -> Result<RawResponse> {
        self.pipeline.send(&Context::new(), &mut request, None).await
    }

    fn blob(&self, name: &str) -> Url {
        let mut blob = self.signed.clone();
        blob.set_path(&format!("{}/{name}", self.signed.path()));
        blob
    }
}
