//! What SDKs of other languages insist on, in the frames that they send.
//!
//! Here are .NET and Java, for service and device over AMQP, built byte by byte and sent over a socket. What a client would
//! stumble over has its own test, here or elsewhere:
//!
//! | what | who needs it | which tests hold it |
//! | --- | --- | --- |
//! | WebSockets on both paths, with a query, as `AMQPWSB10` | all | [`web_socket`](crate::web_socket) |
//! | MQTT over WebSockets, with a query | .NET, Java | `mqtt::web_socket` |
//! | no security layer, or an anonymous one | .NET; Java | `dotnet_service`; `java` |
//! | several sessions, a pair of links for tokens on its own | .NET, Java | `dotnet_service`, `java` |
//! | the status of a token: an int, a text, and the id as it came | .NET (ulong), Java (uuid) | `put_token` and `connect` of these |
//! | an unsettled request for a token is accepted before its answer | Java | `java::connect` |
//! | a new token over the old links | .NET, Java | `dotnet_service`, the first |
//! | a link without a source, a full URI for address, a double among its properties | .NET | `dotnet_service`, the first |
//! | credit at once | all | `Peer::attach` |
//! | encoded ids in `to`, and a message without a body | .NET | `dotnet_service`, the first |
//! | a refused message leaves the link open | all | `dotnet_service`, the first |
//! | tags of 16 bytes, as .NET lays out a GUID | .NET | `dotnet_service`, `dotnet_device` |
//! | a settled `accepted` for every outcome under settle mode second | .NET | `dotnet_service`, `dotnet_device` |
//! | user id, content type and time on feedback and on news of files | .NET | `dotnet_service` |
//! | every field of the news of a file is a text | Java | `dotnet_service`, the last |
//! | no frame is larger than the peer takes | Java (4096) | `java`, the first |
//! | detach, end and close are answered | Java, Node | `Peer::leave`, in nearly all |
//! | empty frames before the peer gives up | Java, .NET devices | `java`, the last |
//! | drained credit and echoes | all | `dotnet_service`, the second |
//! | ids that a token has encoded twice | .NET devices | `dotnet_device`, the first |
//! | the names of links belong to a session | .NET devices | `dotnet_device`, the first |
//! | batches of whole messages | .NET devices | `dotnet_device`, the second |
//! | a lost lock is a rejection with its condition | .NET devices | `dotnet_device`, the third |
//! | ids of methods are GUIDs, and come back as uuids | .NET, Java devices | `dotnet_device`, `java` |
//! | twins by annotations: an int for status, a long for version | .NET devices | `dotnet_device` |
//! | changes of desired properties name their resource | Java devices | `java`, the second |
//! | certificates without a security layer or a token | .NET, Java devices | [`amqp_devices`](crate::amqp_devices) |
//! | topics, property bags, request ids, times, quick reconnects over MQTT | .NET, Java devices | `mqtt::dotnet_and_java` |
//! | a batch over HTTPS that does not say that it is base64 | .NET devices | [`devices`](crate::devices) |

mod bytes;
mod dotnet_device;
mod dotnet_service;
mod java;
mod peer;
