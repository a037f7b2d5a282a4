//! The transport against the checks that every transport has to pass.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use iothub_core::{
    HubHost,
    amqp::{AmqpMessage, Settlement},
    testing::contract::{Act, Peer, verify},
};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport, Proxy};
use tokio::{net::TcpListener, sync::watch};

use crate::certificates::Authority;

mod broker;
mod encoding;

use broker::{Answer, Broker, Ending, SOURCE, TARGET};

#[tokio::test]
async fn the_transport_keeps_the_contract() {
    let authority = Authority::new();
    let peer = BrokerPeer::start(&authority).await;
    let options = AmqpOptions {
        extra_roots: vec![authority.root()],
        platform_roots: false,
        proxy: Proxy::Direct,
        ..AmqpOptions::default()
    };
    verify(&Fe2o3Transport::new(options).unwrap(), &peer).await;
}

struct BrokerPeer {
    host: HubHost,
    broker: Arc<watch::Sender<Broker>>,
}

impl BrokerPeer {
    async fn start(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = authority.acceptor("localhost");
        let broker = Arc::new(watch::Sender::new(Broker::default()));
        let serving = broker.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, broker) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        broker::serve(stream, broker).await;
                    }
                });
            }
        });
        let host: HubHost = format!("localhost:{port}").parse().unwrap();
        Self {
            host: host.with_amqps_port(port),
            broker,
        }
    }

    async fn until(&self, is_so: impl FnMut(&Broker) -> bool) {
        self.broker.subscribe().wait_for(is_so).await.unwrap();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Broker) -> T) -> T {
        let mut result = None;
        self.broker.send_modify(|broker| result = Some(change(broker)));
        result.unwrap()
    }
}

#[async_trait]
impl Peer for BrokerPeer {
    fn host(&self) -> HubHost {
        self.host.clone()
    }

    fn target(&self) -> String {
        TARGET.to_owned()
    }

    fn source(&self) -> String {
        SOURCE.to_owned()
    }

    async fn provide(&self, messages: Vec<AmqpMessage>) {
        let messages: VecDeque<_> = messages.iter().map(encoding::encode).collect();
        self.change(|broker| broker.queue.extend(messages));
    }

    async fn taken(&self) -> Vec<AmqpMessage> {
        let taken = self.change(|broker| std::mem::take(&mut broker.taken));
        taken.iter().map(|message| encoding::decode(message)).collect()
    }

    async fn settled(&self, count: usize) -> Vec<Settlement> {
        self.until(|broker| broker.settled.len() >= count).await;
        self.change(|broker| broker.settled.drain(..count).collect())
    }

    async fn act(&self, act: Act) {
        match act {
            Act::RefuseAttach(address, error) => {
                let error = encoding::error(&error);
                self.change(|broker| broker.refusals.push((address, error)));
            }
            Act::Settle(outcome) => {
                let answer = Answer::Settle(encoding::outcome(&outcome));
                self.change(|broker| broker.answers.push_back(answer));
            }
            Act::Hold => self.change(|broker| broker.answers.push_back(Answer::Hold)),
            Act::DetachAll(error) => self.end(Ending::Links(encoding::end_of_link(&error))).await,
            Act::CloseAll(error) => self.end(Ending::Connections(encoding::error(&error))).await,
            other => panic!("this peer cannot {other:?}"),
        }
    }
}

impl BrokerPeer {
    /// What was written before comes before the end.
    async fn end(&self, ending: Ending) {
        self.until(|broker| broker.answers.is_empty()).await;
        self.change(|broker| broker.endings.push(ending));
    }
}
