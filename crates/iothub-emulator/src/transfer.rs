//! Import and export jobs at work: between the hub, which knows what devices are, and storage, which holds blobs.

mod export;
mod import;

use iothub_core::HubErrorCode;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{
    blob::{Access, BlobClient, Container, StorageError},
    entra::Entra,
    hub::{
        Failure, Grant, Hub,
        transfer_request::{TransferIdentity, TransferRequest, container_failure},
        transfers::{Transfer, TransferKind},
    },
    stop::Stop,
};

/// Takes orders for jobs. Clones put them into the same line.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    hub: Hub,
    entra: Entra,
    client: BlobClient,
    orders: mpsc::Sender<Order>,
}

/// Carries the jobs out, one after the other.
pub(crate) struct Worker {
    hub: Hub,
    orders: mpsc::Receiver<Order>,
}

/// A job that is going to be carried out.
struct Order {
    transfer: Transfer,
    task: Task,
    output: Container,
}

enum Task {
    Import {
        input: Container,
        devices: String,
        errors: String,
        configurations: Option<String>,
    },
    Export {
        devices: String,
        exclude_keys: bool,
        configurations: Option<String>,
    },
}

impl Dispatcher {
    pub(crate) fn new(hub: Hub, entra: Entra, client: BlobClient) -> (Self, Worker) {
        // There is one job at a time; a second place is for the one that follows a cancelled job.
        let (sender, orders) = mpsc::channel(2);
        let worker = Worker {
            hub: hub.clone(),
            orders,
        };
        let dispatcher = Self {
            hub,
            entra,
            client,
            orders: sender,
        };
        (dispatcher, worker)
    }

    /// Starts a job if there is none and its storage can be used, and says what a client is to know about it.
    pub(crate) async fn create(&self, grant: &Grant, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let request = TransferRequest::parse(body)?;
        let slot = self.hub.reserve_transfer(grant)?;
        let access = self.access(&request.identity)?;
        let open = |uri: &str| self.client.container(uri, access.clone()).map_err(refused);
        let output = open(&request.output)?;
        try_out(&output).await.map_err(refused)?;
        let task = match request.kind {
            TransferKind::Import => {
                let input = open(&request.input)?;
                // Whether the blob is there is the job's concern; that it can be asked for is ours.
                input.has(&request.devices).await.map_err(refused)?;
                Task::Import {
                    input,
                    devices: request.devices,
                    errors: request.errors,
                    configurations: request.configurations,
                }
            }
            TransferKind::Export { exclude_keys } => Task::Export {
                devices: request.devices,
                exclude_keys,
                configurations: request.configurations,
            },
        };
        let (json, transfer) = slot.start(request.kind)?;
        let order = Order { transfer, task, output };
        self.orders
            .send(order)
            .await
            .map_err(|_| Failure::new(HubErrorCode::ServiceUnavailable, "the hub is stopping"))?;
        Ok(json)
    }

    fn access(&self, identity: &TransferIdentity) -> Result<Access, Failure> {
        let identity = match identity {
            TransferIdentity::Nobody => return Ok(Access::Signature),
            TransferIdentity::System => self.entra.managed_identity().clone(),
            TransferIdentity::User(id) => self.entra.user_assigned_identity(id).ok_or_else(|| {
                let text = format!("{id} is not an identity of this hub");
                Failure::new(HubErrorCode::ManagedIdentityNotEnabled, text)
            })?,
        };
        Ok(Access::Identity(self.entra.clone(), identity))
    }
}

impl Worker {
    /// Works until the emulator stops. Jobs that are under way then come to no end.
    pub(crate) async fn work(mut self, stop: Stop) {
        loop {
            let order = tokio::select! {
                order = self.orders.recv() => order,
                () = stop.requested() => None,
            };
            let Some(order) = order else { break };
            let id = order.transfer.id();
            tokio::select! {
                () = order.carry_out(&self.hub) => {}
                () = order.transfer.cancelled() => info!(id, "the job was cancelled"),
                () = stop.requested() => break,
            }
        }
    }
}

impl Order {
    async fn carry_out(&self, hub: &Hub) {
        hub.faults().transfers_released().await;
        let (id, transfer) = (self.transfer.id(), &self.transfer);
        transfer.run();
        let outcome = match &self.task {
            Task::Import {
                input,
                devices,
                errors,
                configurations,
            } => {
                let blobs = import::Blobs {
                    input,
                    output: &self.output,
                    devices,
                    errors,
                    configurations: configurations.as_deref(),
                };
                import::run(hub, transfer, &blobs).await
            }
            Task::Export {
                devices,
                exclude_keys,
                configurations,
            } => {
                export::run(
                    hub,
                    transfer,
                    &self.output,
                    devices,
                    *exclude_keys,
                    configurations.as_deref(),
                )
                .await
            }
        };
        match outcome {
            Ok(()) => {
                info!(id, "the job is complete");
                transfer.complete();
            }
            Err(failure) => {
                warn!(id, reason = failure.message, "the job failed");
                transfer.fail(failure.message);
            }
        }
    }
}

/// A job must be able to read, delete and write. That is found out before it starts, with a blob of no consequence, which
/// is written last so that nothing stays where it could not be deleted.
async fn try_out(container: &Container) -> Result<(), StorageError> {
    let name = format!("iothub-access-{}", uuid::Uuid::new_v4());
    container.has(&name).await?;
    container.delete(&name).await?;
    container.put_blob(&name, bytes::Bytes::new()).await?;
    container.delete(&name).await
}

fn refused(error: StorageError) -> Failure {
    container_failure(format!(
        "Unauthorized to write to, or read from, the blob container. {error}"
    ))
}

fn broken(error: StorageError) -> Failure {
    Failure::new(HubErrorCode::ServerError, error.to_string())
}
