//! The emulator over its sockets, asked by a bare HTTP client that knows nothing of this project's clients.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod amqp;
mod amqp_devices;
mod binary;
mod blobs;
mod bulk;
mod certificates;
mod client;
mod configurations;
mod crash;
mod deployments;
mod devices;
mod digital_twins;
mod directory;
mod entra;
mod errors;
mod exports;
mod faults;
mod feedback;
mod golden;
mod identities;
mod keys;
mod logs;
mod management;
mod modules;
mod mqtt;
mod options;
mod permissions;
mod queries;
mod restart;
mod scheduled_jobs;
mod simulation;
mod transcripts;
mod transfers;
mod twins;
mod web_socket;
