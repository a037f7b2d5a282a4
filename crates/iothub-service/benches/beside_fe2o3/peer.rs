//! A peer by fe2o3-amqp that takes every token and every message, and has feedback without end.

use std::{collections::VecDeque, sync::Arc};

use fe2o3_amqp::{
    Receiver, Sender,
    acceptor::{ConnectionAcceptor, LinkAcceptor, LinkEndpoint, SessionAcceptor},
    link::{CreditMode, SendError, delivery::DeliveryFut},
};
use fe2o3_amqp_types::{
    messaging::{ApplicationProperties, Body, Message, MessageId, Outcome, Properties},
    primitives::{Binary, Value},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{Mutex, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Says its port and its certificate, and serves until it is ended.
pub(crate) fn run() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let root = serde_json::to_string(&**certificate.der()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}\n{root}", listener.local_addr().unwrap().port());
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            tokio::spawn(serve(tls.accept(tcp).await.unwrap()));
        }
    });
}

/// The questions to `$cbs` of one connection, on their way to the link that answers.
type Questions = (
    mpsc::UnboundedSender<MessageId>,
    Arc<Mutex<mpsc::UnboundedReceiver<MessageId>>>,
);

async fn serve(stream: TlsStream<TcpStream>) {
    let acceptor = ConnectionAcceptor::builder()
        .container_id("peer")
        .max_frame_size(65_536)
        .build();
    let mut connection = acceptor.accept(stream).await.unwrap();
    let sessions = SessionAcceptor::builder()
        .incoming_window(50_000)
        .outgoing_window(50_000)
        .build();
    let (ask, asked) = mpsc::unbounded_channel();
    let questions: Questions = (ask, Arc::new(Mutex::new(asked)));
    while let Ok(mut session) = sessions.accept(&mut connection).await {
        let questions = questions.clone();
        tokio::spawn(async move {
            let links = LinkAcceptor::new();
            while let Ok(link) = links.accept(&mut session).await {
                let questions = questions.clone();
                match link {
                    LinkEndpoint::Receiver(receiver) => drop(tokio::spawn(take(receiver, questions))),
                    LinkEndpoint::Sender(sender) => drop(tokio::spawn(give(sender, questions))),
                }
            }
        });
    }
}

async fn take(mut receiver: Receiver, (ask, _): Questions) {
    receiver.set_credit_mode(CreditMode::Auto(5000));
    receiver.set_credit(5000).await.unwrap();
    while let Ok(delivery) = receiver.recv::<Body<Value>>().await {
        let properties = delivery.message().properties.as_ref();
        if let Some(reply_to) = properties.and_then(|properties| properties.reply_to.as_ref())
            && reply_to.as_str() == "cbs"
        {
            let id = properties.and_then(|properties| properties.message_id.clone());
            ask.send(id.unwrap()).unwrap();
        }
        receiver.accept(&delivery).await.unwrap();
    }
}

async fn give(mut sender: Sender, (_, asked): Questions) {
    let address = sender.source().as_ref().and_then(|source| source.address.clone());
    if address.as_deref() == Some("$cbs") {
        while let Some(id) = asked.lock().await.recv().await {
            let answer = Message::builder()
                .properties(Properties::builder().correlation_id(id).build())
                .application_properties(ApplicationProperties::builder().insert("status-code", 200).build())
                .value(Value::Null)
                .build();
            sender.send(answer).await.unwrap();
        }
        return;
    }
    let mut under_way: VecDeque<DeliveryFut<Result<Outcome, SendError>>> = VecDeque::new();
    loop {
        // Far behind, so that it is settled by now.
        if under_way.len() > 2000
            && let Some(settled) = under_way.pop_front()
            && settled.await.is_err()
        {
            return;
        }
        let message = Message::builder()
            .data(Binary::from(RECORDS.as_bytes().to_vec()))
            .build();
        match sender.send_batchable(message).await {
            Ok(settled) => under_way.push_back(settled),
            Err(_) => return,
        }
    }
}

const RECORDS: &str = r#"[{"originalMessageId":"0123456789abcdef","deviceId":"lamp","deviceGenerationId":"635123456789012345","enqueuedTimeUtc":"2030-01-02T03:04:05.678Z","statusCode":"Success","description":"Success"}]"#;
