//! How a backend proves to Azure IoT Hub who it is: Microsoft Entra credentials, SAS, connection strings.
