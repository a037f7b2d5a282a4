use azure_core::Result;
use bytes::Bytes;

use super::{Script, TokenAnswer};
use crate::amqp::{AmqpDelivery, AmqpMessage, AmqpValue, DeliveryTag};

/// The address at which tokens are put.
pub(super) const CBS: &str = "$cbs";

impl Script {
    /// Takes a token that came over `link`. The answer goes to whoever receives from `$cbs` on the same connection.
    pub(super) fn put_token(&mut self, link: usize, request: AmqpMessage) -> Result<()> {
        if let Some(error) = self.end_of(link) {
            return Err(error.into());
        }
        if self.is_silent(link) {
            return Ok(());
        }
        let id = request.message_id.clone();
        self.puts.push(request);
        match self.tokens.pop_front().unwrap_or_else(TokenAnswer::ok) {
            TokenAnswer::Silence => {}
            TokenAnswer::Late => self.late.push(answer(id, 200, "late")),
            TokenAnswer::Status(status, description) => {
                let late = std::mem::take(&mut self.late);
                for message in late.into_iter().chain([answer(id, status, &description)]) {
                    self.tags += 1;
                    let tag = DeliveryTag(Bytes::copy_from_slice(&self.tags.to_be_bytes()));
                    self.inbox.push((CBS.to_owned(), AmqpDelivery { tag, message }));
                }
            }
            TokenAnswer::End(error) => {
                for link in self.links_to(CBS) {
                    self.end(link, error.clone());
                }
            }
        }
        Ok(())
    }
}

fn answer(to: Option<AmqpValue>, status: i32, description: &str) -> AmqpMessage {
    AmqpMessage {
        correlation_id: to,
        application_properties: vec![
            ("status-code".to_owned(), AmqpValue::Int(status)),
            ("status-description".to_owned(), description.into()),
        ],
        ..AmqpMessage::default()
    }
}
