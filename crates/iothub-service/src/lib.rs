//! ServiceClient for Azure IoT Hub: cloud-to-device messages, feedback, direct methods.
