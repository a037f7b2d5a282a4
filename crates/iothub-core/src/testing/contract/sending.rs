use futures::future::join_all;

use super::{Act, Bench, id, numbered, outcome, sent};
use crate::amqp::Outcome;

/// Senders.
impl Bench<'_> {
    pub(super) async fn order(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receipts = Vec::new();
        for number in 0..50 {
            let handed_over = sender.send(numbered(number)).await;
            receipts.push(handed_over.expect("a message is handed over while earlier ones are unsettled"));
        }
        for receipt in join_all(receipts).await {
            assert!(
                matches!(receipt, Ok(Outcome::Accepted)),
                "an accepted message: {receipt:?}"
            );
        }
        let taken = self.peer.taken().await;
        assert!(
            taken.iter().map(id).eq((0..50).map(Some)),
            "messages keep the order of the calls"
        );
    }

    pub(super) async fn outcomes(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let rejected = Outcome::Rejected {
            condition: Some("com.microsoft:argument-error".into()),
            description: Some("what it is".to_owned()),
            info: Vec::new(),
        };
        self.peer.act(Act::Settle(rejected)).await;
        match outcome(&*sender, numbered(1)).await {
            Outcome::Rejected {
                condition: Some(condition),
                description,
                ..
            } => {
                assert_eq!(condition.as_str(), "com.microsoft:argument-error");
                assert_eq!(description.as_deref(), Some("what it is"));
            }
            other => panic!("a rejected message: {other:?}"),
        }
        self.peer.act(Act::Settle(Outcome::Released)).await;
        let released = outcome(&*sender, numbered(2)).await;
        assert!(
            matches!(released, Outcome::Released),
            "a released message: {released:?}"
        );
        for expected in [true, false] {
            let modified = Outcome::Modified {
                undeliverable_here: expected,
            };
            self.peer.act(Act::Settle(modified)).await;
            match outcome(&*sender, numbered(3)).await {
                Outcome::Modified { undeliverable_here } => assert_eq!(undeliverable_here, expected),
                other => panic!("a modified message: {other:?}"),
            }
        }
        sent(&*sender, numbered(4)).await;
        self.peer.taken().await;
    }
}
