use std::{num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use iothub_auth::SharedAccessKey;
use iothub_core::{HubHost, testing::ScriptedHttp};
use iothub_service::{
    CloudToDeviceMessage, Deliveries, FeedbackBatch, FeedbackOptions, ServiceClient, ServiceClientOptions, Target,
};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport};

use crate::WINDOW;

/// A client as an application has it, with a connection that mends itself.
pub(crate) struct Ours {
    service: ServiceClient,
    feedback: Deliveries<FeedbackBatch>,
    lamp: Target,
    body: Bytes,
}

impl Ours {
    pub(crate) async fn new(host: &HubHost, root: &Bytes) -> Self {
        let amqp = AmqpOptions {
            extra_roots: vec![root.clone()],
            platform_roots: false,
            ..AmqpOptions::default()
        };
        let options = ServiceClientOptions {
            amqp_transport: Some(Arc::new(Fe2o3Transport::new(amqp).unwrap())),
            client_options: ScriptedHttp::default().client_options(),
            ..ServiceClientOptions::default()
        };
        let key = SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap();
        let service = ServiceClient::new(host.clone(), key, Some(options)).unwrap();
        service.warm_up(None).await.unwrap();
        let feedback = service.feedback(Some(FeedbackOptions {
            credit: NonZeroU32::new(u32::try_from(WINDOW).unwrap()),
        }));
        Self {
            service,
            feedback,
            lamp: Target::Device("lamp".parse().unwrap()),
            body: vec![7; 1024].into(),
        }
    }

    pub(crate) async fn send(&self, messages: usize) {
        let (lamp, body) = (self.lamp.clone(), self.body.clone());
        let messages = stream::iter(0..messages).map(move |_| {
            let message = CloudToDeviceMessage {
                message_id: Some("0123456789abcdef".to_owned()),
                ..CloudToDeviceMessage::new(body.clone())
            };
            (lamp.clone(), message)
        });
        // Its window is 500 unless told otherwise.
        let mut sent = std::pin::pin!(self.service.send_all(messages, None));
        while let Some(sent) = sent.next().await {
            sent.unwrap();
        }
    }

    pub(crate) async fn receive(&mut self, messages: usize) {
        for _ in 0..messages {
            let batch = self.feedback.next().await.unwrap().unwrap();
            assert_eq!(batch.records.len(), 1);
            batch.complete().await.unwrap();
        }
    }
}
