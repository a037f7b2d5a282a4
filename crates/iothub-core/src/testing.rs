//! Fakes of the wire, for tests of applications, of transports and of this SDK.
//!
//! Clients are concrete and have no traits to mock. What is replaced is what they speak through: give them a
//! [`ScriptedHttp`] or a [`ScriptedAmqp`] as their transport, say what it answers, and look at what it saw.

pub mod contract;
mod scripted_amqp;
mod scripted_http;

pub use scripted_amqp::{ScriptedAmqp, SendAnswer, TokenAnswer};
pub use scripted_http::{HttpAnswer, ScriptedHttp, SeenRequest};
