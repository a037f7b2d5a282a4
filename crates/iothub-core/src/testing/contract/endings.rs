use std::pin::pin;

use futures::future::poll_immediate;

use super::{Act, Bench, id, numbered, receive, sent, settle};
use crate::amqp::{AmqpCondition, AmqpError, AmqpScope, Settlement};

/// How links and connections end.
impl Bench<'_> {
    pub(super) async fn refused_attach(&self) {
        let connection = self.connect().await;
        let refusal = || AmqpError::new(AmqpScope::Link).with_condition("amqp:not-found", "no such address");
        self.peer.act(Act::RefuseAttach(self.peer.target(), refusal())).await;
        let error = connection.sender(self.sender_link()).await.err();
        assert_said(
            error.as_ref().and_then(AmqpError::of),
            "amqp:not-found",
            AmqpScope::Link,
        );
        self.peer.act(Act::RefuseAttach(self.peer.source(), refusal())).await;
        let error = connection.receiver(self.receiver_link(1)).await.err();
        assert_said(
            error.as_ref().and_then(AmqpError::of),
            "amqp:not-found",
            AmqpScope::Link,
        );
        sent(&*self.sender(&*connection).await, numbered(1)).await;
        self.peer.taken().await;
    }

    pub(super) async fn detached_link(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 1).await;
        self.peer.act(Act::Hold).await;
        let receipt = sender.send(numbered(1)).await.expect("handed over");
        assert!(
            poll_immediate(pin!(sender.detached())).await.is_none(),
            "it is attached"
        );

        let error = AmqpError::new(AmqpScope::Link).with_condition("amqp:link:detach-forced", "for a test");
        self.peer.act(Act::DetachAll(error)).await;
        for _ in 0..2 {
            assert_said(
                Some(&sender.detached().await),
                "amqp:link:detach-forced",
                AmqpScope::Link,
            );
        }
        assert!(
            receipt.await.is_err(),
            "nobody settles a message of a link that has ended"
        );
        assert!(
            sender.send(numbered(2)).await.is_err(),
            "nothing is handed over to a link that has ended"
        );
        let error = receiver.recv().await.err();
        assert_said(
            error.as_ref().and_then(AmqpError::of),
            "amqp:link:detach-forced",
            AmqpScope::Link,
        );
        assert!(
            poll_immediate(pin!(connection.closed())).await.is_none(),
            "the connection lives"
        );

        let again = self.sender(&*connection).await;
        sent(&*again, numbered(3)).await;
        let taken = self.peer.taken().await;
        assert!(taken.iter().map(id).eq([Some(1), Some(3)]), "{taken:?}");
    }

    pub(super) async fn closed_connection(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 1).await;
        self.peer.act(Act::Hold).await;
        let receipt = sender.send(numbered(1)).await.expect("handed over");
        let error = AmqpError::new(AmqpScope::Connection).with_condition("amqp:connection:forced", "for a test");
        self.peer.act(Act::CloseAll(error)).await;
        for _ in 0..2 {
            assert_said(
                Some(&connection.closed().await),
                "amqp:connection:forced",
                AmqpScope::Connection,
            );
        }
        assert_eq!(sender.detached().await.scope, AmqpScope::Connection);
        assert!(
            receipt.await.is_err(),
            "nobody settles a message of a connection that has ended"
        );
        assert!(sender.send(numbered(2)).await.is_err(), "nothing is handed over");
        let error = receiver.recv().await.err();
        let scope = error.as_ref().and_then(AmqpError::of).map(|error| error.scope);
        assert_eq!(scope, Some(AmqpScope::Connection));
        assert!(
            connection.sender(self.sender_link()).await.is_err(),
            "no link is attached"
        );
        self.peer.taken().await;
    }

    pub(super) async fn close(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        sent(&*sender, numbered(1)).await;
        connection.close().await.expect("the peer answers the close");
        connection.closed().await;
        assert!(sender.send(numbered(2)).await.is_err(), "nothing is handed over");
        assert!(
            connection.sender(self.sender_link()).await.is_err(),
            "no link is attached"
        );
        let taken = self.peer.taken().await;
        assert!(taken.iter().map(id).eq([Some(1)]), "{taken:?}");
    }

    pub(super) async fn dropped_links(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 10).await;
        self.peer.provide((0..2).map(numbered).collect()).await;
        receive(&mut *receiver).await;
        drop(receiver);
        let mut receiver = self.receiver(&*connection, 10).await;
        for number in 0..2 {
            let delivery = receive(&mut *receiver).await;
            assert_eq!(
                id(&delivery.message),
                Some(number),
                "what a dropped receiver had is given back"
            );
            settle(&*receiver, &delivery.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        sent(&*sender, numbered(1)).await;
        drop(sender);
        sent(&*self.sender(&*connection).await, numbered(2)).await;
        self.peer.settled(2).await;
        self.peer.taken().await;
    }
}

fn assert_said(said: Option<&AmqpError>, condition: &str, scope: AmqpScope) {
    let said = said.expect("the peer's words are an `AmqpError` inside the error");
    assert_eq!(said.condition.as_ref().map(AmqpCondition::as_str), Some(condition));
    assert_eq!(said.scope, scope, "{said}");
}
