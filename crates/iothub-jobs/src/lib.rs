//! JobClient for Azure IoT Hub: direct methods and twin updates over many devices, on a schedule.
