//! Blob storage: a small storage account behind the HTTPS door, and a client for any account.

mod account;
mod authorization;
mod block_list;
mod client;
mod condition;
mod container;
mod containers;
mod contents;
pub(crate) mod door;
mod foreign;
mod listing;
mod operation;
mod options;
mod public;
mod reader;
mod refusal;
mod sas;
mod uploads;
mod writer;

pub(crate) use self::{
    account::Account,
    client::{Access, BlobClient, Container, StorageError},
    container::{Blob, Block, Version},
    containers::Containers,
    contents::Contents,
    foreign::ForeignFiles,
    reader::Lines,
    uploads::DeviceFiles,
    writer::BlobWriter,
};
pub use self::{options::FileUploadOptions, public::BlobContainer};
