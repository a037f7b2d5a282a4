use std::future::pending;

use iothub_core::HubHost;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What lies between a client and the AMQP door of its hub: a port that leads there, or does not.
pub(crate) struct Network {
    port: u16,
    way: watch::Sender<Way>,
    serving: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Way {
    /// The port of the hub. Without one, whoever connects is hung up on.
    hub: Option<u16>,
    /// Connections with a lower number have gone silent.
    silent_before: u64,
    /// Connections with a lower number have been given up by the hub.
    given_up_before: u64,
}

impl Network {
    pub(crate) async fn to(hub: &HubHost) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, seen) = watch::channel(Way {
            hub: Some(hub.amqps_port()),
            silent_before: 0,
            given_up_before: 0,
        });
        let serving = tokio::spawn(serve(listener, seen));
        Self { port, way, serving }
    }

    /// The hub, by this way.
    pub(crate) fn host(&self, hub: &HubHost) -> HubHost {
        hub.clone().with_amqps_port(self.port)
    }

    /// Hangs up on everybody, until it leads somewhere again.
    pub(crate) fn refuse(&self) {
        self.way.send_modify(|way| way.hub = None);
    }

    pub(crate) fn lead_to(&self, hub: &HubHost) {
        self.way.send_modify(|way| way.hub = Some(hub.amqps_port()));
    }

    /// Lets nothing pass any more on the connections there are, and tells neither side. New ones work.
    pub(crate) fn fall_silent(&self) {
        self.way.send_modify(|way| way.silent_before += 1);
    }

    /// Has the hub find out that the other side of silent connections is gone.
    pub(crate) fn let_the_hub_give_up(&self) {
        self.way.send_modify(|way| way.given_up_before = way.silent_before);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, mut way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    loop {
        let now = *way.borrow_and_update();
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                if let Some(port) = now.hub {
                    connections.spawn(carry(client, port, now.silent_before, way.clone()));
                }
            }
            changed = way.changed() => {
                if changed.is_err() {
                    return;
                }
                if way.borrow().hub != now.hub {
                    connections = JoinSet::new();
                }
            }
        }
    }
}

async fn carry(mut client: TcpStream, port: u16, number: u64, mut way: watch::Receiver<Way>) {
    let Ok(mut hub) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut hub) => return,
        _ = way.wait_for(|way| way.silent_before > number) => {}
    }
    drop(way.wait_for(|way| way.given_up_before > number).await);
    drop(hub);
    // The client finds out by itself.
    pending().await
}
