#![doc = include_str!("../README.md")]

mod acceptor;
mod amqp;
mod blob;
mod device;
mod emulator;
mod entra;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod hub;
mod listener;
mod management;
mod mqtt;
mod options;
mod outgoing;
mod secret;
mod simulation;
mod socket;
mod state;
mod stop;
mod store;
mod tls;
mod transfer;

pub use blob::{BlobContainer, FileUploadOptions};
pub use device::{Device, Methods, ReceivedMessage, ReceivedMethod};
pub use emulator::Emulator;
pub use entra::{Application, ApplicationOptions, Entra, EntraOptions, Role};
pub use hub::{
    amqp_event::AmqpEvent,
    amqp_faults::AmqpFaults,
    c2d::{Ack, C2dMessage},
    clock::Clock,
    d2c::D2cMessage,
    desired::{DesiredChange, DesiredChanges},
    events_options::EventsOptions,
    fault::{CertificateFlaw, Fault, FrameGarble, Garble, ReturnedAs, SettlementGarble, WebSocketGarble},
    faults::{Faults, When},
    grant::Principal,
    journal::{Door, Entry, Event, Journal, Operation},
    options::{CloudToDeviceOptions, HubOptions, ServiceQueueOptions},
    outcome::Outcome,
    policy::{Permission, PolicyOptions},
    provisioned::DeviceOptions,
    sessions::SessionEnd,
    sku::Sku,
    target::Target,
    telemetry::TelemetryEvent,
};
pub use options::EmulatorOptions;
pub use simulation::Simulation;
pub use store::transfer::{export_state, import_state};
