use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::BytesMut;

use super::{Container, StorageError};

/// Writes a blob of any length, of which it holds one block at a time.
///
/// Until [`finish`](Self::finish) nobody sees the blob.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    container: Container,
    name: String,
    block: BytesMut,
    ids: Vec<String>,
}

impl BlobWriter {
    pub(crate) fn new(container: Container, name: &str) -> Self {
        Self {
            container,
            name: name.to_owned(),
            block: BytesMut::new(),
            ids: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK {
            self.put_block().await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<(), StorageError> {
        if self.ids.is_empty() {
            return self.container.put_blob(&self.name, self.block.freeze()).await;
        }
        if !self.block.is_empty() {
            self.put_block().await?;
        }
        self.container.put_block_list(&self.name, &self.ids).await
    }

    async fn put_block(&mut self) -> Result<(), StorageError> {
        // All ids of a blob have to have the same length.
        let id = BASE64_STANDARD.encode(format!("{:08}", self.ids.len()));
        self.container
            .put_block(&self.name, &id, self.block.split().freeze())
            .await?;
        self.ids.push(id);
        Ok(())
    }
}

/// Of this size, the 50 000 blocks that a blob may have hold a million devices with the largest twins.
const BLOCK: usize = 4 * 1024 * 1024;
