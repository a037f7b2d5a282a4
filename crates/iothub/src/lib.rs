//! The service side of Azure IoT Hub: all clients under one roof.
