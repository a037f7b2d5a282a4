use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    composite::{Fields, Required},
    encode::to_bytes,
    error::{AmqpError, condition},
    frame::{FrameKind, FrameReader, ReadError, write_sasl},
    value::Value,
};
use crate::hub::{Failure, Fault, Grant, Hub, Principal};

/// What a peer got out of the security layer.
pub(super) enum SaslOutcome {
    /// It goes on, and says later by put-token who it is.
    Unknown,
    /// It said who it is.
    Known(Grant),
    /// It is shown out.
    Refused(Failure),
}

/// Runs the security layer, after both ends have exchanged its protocol header.
///
/// `ANONYMOUS` and `MSSBCBS` say that a token follows on `$cbs`. `PLAIN` carries one: the password is a whole shared
/// access signature, and the user name has to fit it.
pub(super) async fn negotiate<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    hub: &Hub,
    fault: Option<&Fault>,
) -> Result<SaslOutcome, ReadError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mechanisms = ["PLAIN", "MSSBCBS", "ANONYMOUS"].map(Value::symbol);
    send(
        writer,
        &Value::composite(MECHANISMS, vec![Value::Array(mechanisms.into())]),
    )
    .await?;
    let Some(frame) = reader.next().await? else {
        return Err(ReadError::Io(std::io::ErrorKind::UnexpectedEof.into()));
    };
    let init = match frame.kind {
        FrameKind::Sasl => Init::read(frame.body).map_err(ReadError::Peer)?,
        FrameKind::Amqp => {
            let text = "expected a sasl-init before anything else";
            return Err(ReadError::Peer(AmqpError::new(condition::FRAMING_ERROR, text)));
        }
    };
    if let Some(Fault::RefuseSasl { outcome }) = fault {
        send(
            writer,
            &Value::composite(OUTCOME, vec![Value::Ubyte(*outcome), Value::Null]),
        )
        .await?;
        let failure = Failure::unauthorized("refused, as a test asked for");
        return Ok(SaslOutcome::Refused(failure));
    }
    let outcome = match init.mechanism.as_str() {
        "ANONYMOUS" | "MSSBCBS" => SaslOutcome::Unknown,
        "PLAIN" => plain(&init.response, hub).map_or_else(SaslOutcome::Refused, SaslOutcome::Known),
        other => SaslOutcome::Refused(Failure::unauthorized(format!(
            "there is no SASL mechanism {other:?} here"
        ))),
    };
    let code = match outcome {
        SaslOutcome::Refused(_) => AUTH,
        SaslOutcome::Unknown | SaslOutcome::Known(_) => OK,
    };
    send(
        writer,
        &Value::composite(OUTCOME, vec![Value::Ubyte(code), Value::Null]),
    )
    .await?;
    Ok(outcome)
}

struct Init {
    mechanism: String,
    response: Vec<u8>,
}

impl Init {
    fn read(body: bytes::Bytes) -> Result<Self, AmqpError> {
        let (code, mut fields) = Fields::of(super::decode::Decoder::new(body).value()?)?;
        if code != INIT {
            return Err(AmqpError::new(condition::FRAMING_ERROR, "expected a sasl-init"));
        }
        Ok(Self {
            mechanism: fields.text().required()?,
            response: fields.binary()?.map(Into::into).unwrap_or_default(),
        })
    }
}

/// Reads `authorization NUL user NUL password`.
fn plain(response: &[u8], hub: &Hub) -> Result<Grant, Failure> {
    let text = std::str::from_utf8(response).map_err(|_| Failure::unauthorized("the PLAIN response is not UTF-8"))?;
    let mut parts = text.split('\0').skip(1);
    let (Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Failure::unauthorized("a PLAIN response has three parts"));
    };
    let grant = hub.authorize_sas(password)?;
    let short = hub.name().split('.').next().unwrap_or_default();
    if user_name(grant.principal(), short).is_some_and(|expected| expected == user) {
        return Ok(grant);
    }
    Err(Failure::unauthorized(format!(
        "the user name {user:?} does not fit the token of {}",
        grant.principal()
    )))
}

/// The name under which a principal signs in at the hub called `short`.
fn user_name(principal: &Principal, short: &str) -> Option<String> {
    match principal {
        Principal::Policy(name) => Some(format!("{name}@sas.root.{short}")),
        Principal::Device(target) => Some(match target.module() {
            None => format!("{}@sas.{short}", target.device()),
            Some(module) => format!("{}/modules/{module}@sas.{short}", target.device()),
        }),
        Principal::App(_) => None,
    }
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, value: &Value) -> std::io::Result<()> {
    let mut out = BytesMut::new();
    write_sasl(&to_bytes(value), &mut out);
    writer.write_all(&out).await?;
    writer.flush().await
}

const MECHANISMS: u64 = 0x40;
const INIT: u64 = 0x41;
const OUTCOME: u64 = 0x44;

const OK: u8 = 0;
const AUTH: u8 = 1;
