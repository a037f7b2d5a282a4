//! RegistryClient for Azure IoT Hub: device and module identities, twins, queries, configurations.
