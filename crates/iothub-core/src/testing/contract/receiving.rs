use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::poll_immediate};

use super::{Act, Bench, id, numbered, receive, settle};
use crate::{
    amqp::{AmqpError, AmqpScope, DeliveryTag, Settlement},
    deadline::within,
};

/// Receivers.
impl Bench<'_> {
    pub(super) async fn cancelled_recv(&self) {
        let connection = self.connect().await;
        let mut receiver = self.receiver(&*connection, 50).await;
        self.peer.provide((0..50).map(numbered).collect()).await;
        let mut received = Vec::new();
        while received.len() < 50 {
            // Looked at once and dropped, which is all that a select does.
            let delivery = match receiver.recv().now_or_never() {
                Some(delivery) => delivery.expect("a message"),
                None => match within(Duration::from_millis(1), receiver.recv()).await {
                    Some(delivery) => delivery.expect("a message"),
                    None => continue,
                },
            };
            received.push(id(&delivery.message));
            settle(&*receiver, &delivery.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        assert!(
            received.into_iter().eq((0..50).map(Some)),
            "each message once, in order"
        );
        self.peer.settled(50).await;
    }

    pub(super) async fn settlement(&self) {
        let connection = self.connect().await;
        let mut receiver = self.receiver(&*connection, 10).await;
        self.peer.provide((0..4).map(numbered).collect()).await;
        let mut tags = Vec::new();
        for _ in 0..4 {
            tags.push(receive(&mut *receiver).await.tag);
        }
        settle(&*receiver, &tags[1], Settlement::Accepted)
            .await
            .expect("settled, and not in order");
        settle(&*receiver, &tags[0], Settlement::Rejected)
            .await
            .expect("settled");
        settle(&*receiver, &tags[2], Settlement::Released)
            .await
            .expect("settled");
        let settled = self.peer.settled(3).await;
        assert_eq!(
            settled,
            [Settlement::Accepted, Settlement::Rejected, Settlement::Released]
        );
        assert!(
            settle(&*receiver, &tags[1], Settlement::Accepted).await.is_err(),
            "it was settled before"
        );
        let unknown = DeliveryTag(Bytes::from_static(b"of nobody"));
        assert!(
            settle(&*receiver, &unknown, Settlement::Accepted).await.is_err(),
            "it was not delivered"
        );

        let again = receive(&mut *receiver).await;
        assert_eq!(id(&again.message), Some(2), "what is released comes again");
        let (settler, waits) = (receiver.settler(), receiver.recv());
        let mut waits = pin!(waits);
        assert!(poll_immediate(&mut waits).await.is_none());
        settler
            .settle(&again.tag, Settlement::Accepted)
            .await
            .expect("settled while the receiver waits");
        self.peer.settled(1).await;

        self.peer.act(Act::DetachAll(AmqpError::new(AmqpScope::Link))).await;
        assert!(waits.await.is_err(), "the link has ended");
        let late = settler.settle(&tags[3], Settlement::Accepted).await;
        assert!(late.is_err(), "a delivery of a link that has ended cannot be settled");
        let mut receiver = self.receiver(&*connection, 10).await;
        let again = receive(&mut *receiver).await;
        assert_eq!(id(&again.message), Some(3), "what was not settled comes again");
        settle(&*receiver, &again.tag, Settlement::Accepted)
            .await
            .expect("settled");
        self.peer.settled(1).await;
    }

    pub(super) async fn credit(&self) {
        let connection = self.connect().await;
        let mut receiver = self.receiver(&*connection, 3).await;
        self.peer.provide((0..7).map(numbered).collect()).await;
        let mut tags = Vec::new();
        for _ in 0..3 {
            tags.push(receive(&mut *receiver).await.tag);
        }
        let fourth = within(Duration::from_millis(200), receiver.recv()).await;
        assert!(
            fourth.is_none(),
            "three messages are unsettled, and no more were asked for"
        );
        for tag in tags.drain(..) {
            settle(&*receiver, &tag, Settlement::Accepted).await.expect("settled");
        }
        for number in 3..7 {
            let delivery = receive(&mut *receiver).await;
            assert_eq!(id(&delivery.message), Some(number), "credit comes back with settlement");
            settle(&*receiver, &delivery.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        self.peer.settled(7).await;
    }
}
