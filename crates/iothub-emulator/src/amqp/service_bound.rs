//! `/messages/servicebound/…`: where services hear what became of messages to devices, and of files from devices.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use uuid::Uuid;

use super::{
    error::AmqpError,
    message::{Body, Message, Properties},
    node::{Access, LinkSource, OutgoingMessage, Source, Terminus},
    outcome::Outcome,
    peer::Peer,
    value::Value,
};
use crate::hub::{
    self, DataAction, Hub, Locked, feedback::FeedbackRecord, service_bound::ServiceBound, uploads::FileNotification,
};

/// Batches of feedback.
pub(crate) fn feedback(peer: &Arc<Peer>) -> Source {
    let node = ServiceBoundSource::<Arc<[FeedbackRecord]>> {
        hub: peer.hub.clone(),
        queue: |hub| &hub.feedback().batches,
        content_type: "application/vnd.microsoft.iothub.feedback.json",
    };
    let access = Access::Needs {
        action: DataAction::ReceiveFeedback,
        resource: "messages/servicebound/feedback".to_owned(),
    };
    Terminus::new(Arc::new(node), access)
}

/// Notifications of files.
pub(crate) fn file_notifications(peer: &Arc<Peer>) -> Source {
    let node = ServiceBoundSource::<Arc<FileNotification>> {
        hub: peer.hub.clone(),
        queue: |hub| &hub.uploads().notifications,
        content_type: "application/vnd.microsoft.iothub.filenotification.json",
    };
    let access = Access::Needs {
        action: DataAction::ReceiveFileNotifications,
        resource: "messages/servicebound/filenotifications".to_owned(),
    };
    Terminus::new(Arc::new(node), access)
}

struct ServiceBoundSource<T> {
    hub: Hub,
    queue: fn(&Hub) -> &ServiceBound<T>,
    content_type: &'static str,
}

impl<T: AsJson + Clone + Send + 'static> LinkSource for ServiceBoundSource<T> {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(async {
            let locked = (self.queue)(&self.hub).next(&self.hub).await;
            Ok(OutgoingMessage {
                tag: locked.token,
                payload: self.message(&locked).into_bytes(),
            })
        })
    }

    fn settle(&self, tag: Uuid, outcome: Outcome) -> Result<(), AmqpError> {
        let outcome = match outcome {
            Outcome::Accepted => hub::Outcome::Completed,
            Outcome::Rejected(_) => hub::Outcome::Rejected,
            Outcome::Released | Outcome::Modified { .. } => hub::Outcome::Abandoned,
        };
        Ok((self.queue)(&self.hub).settle(&self.hub, tag, outcome)?)
    }
}

impl<T: AsJson> ServiceBoundSource<T> {
    fn message(&self, locked: &Locked<T>) -> Message {
        Message {
            annotations: vec![
                ("iothub-enqueuedtime".to_owned(), locked.enqueued.into()),
                ("iothub-deliverycount".to_owned(), Value::Ubyte(locked.deliveries)),
            ],
            properties: Properties {
                // Clients read it without asking whether it is there.
                user_id: Some(self.hub.name().to_owned().into()),
                content_type: Some(self.content_type.to_owned()),
                ..Properties::default()
            },
            body: Body::Data(vec![locked.message.as_json().into()]),
            ..Message::default()
        }
    }
}

/// What a message of these nodes holds.
trait AsJson: Send + Sync {
    fn as_json(&self) -> Vec<u8>;
}

impl<T: Serialize + ?Sized + Send + Sync> AsJson for Arc<T> {
    fn as_json(&self) -> Vec<u8> {
        // These hold texts and numbers, which can always be written.
        serde_json::to_vec(&**self).unwrap_or_default()
    }
}
