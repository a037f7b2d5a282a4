//! The MQTT door, asked byte by byte by a client that shares no line with the codec of the emulator.

mod connecting;
mod dotnet_and_java;
mod golden;
mod malformed;
mod raw;
mod sessions;
mod web_socket;

use iothub_emulator::{Emulator, EmulatorOptions, Event};

use self::raw::Raw;

/// A hub with the device `lamp`.
async fn hub() -> Emulator {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    emulator
}

/// A device that has connected with a clean session and a token.
async fn connected(emulator: &Emulator, id: &str) -> Raw {
    let mut device = Raw::open(emulator).await;
    device.send(raw::connect(emulator, id, true)).await;
    assert_eq!(device.packet().await, [0x20, 2, 0, 0]);
    device
}

/// Waits until the hub has written down why it refuses somebody.
async fn refused(emulator: &Emulator, why: &str) {
    let like = |event: &Event| matches!(event, Event::Refused { message, .. } if message.contains(why));
    emulator.journal().wait_for(like).await;
}
