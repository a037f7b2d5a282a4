//! DigitalTwinClient for Azure IoT Hub: Plug and Play twins and commands.
