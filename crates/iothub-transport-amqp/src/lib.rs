//! The AMQP seam of iothub-core over fe2o3-amqp: TLS and WebSocket.
