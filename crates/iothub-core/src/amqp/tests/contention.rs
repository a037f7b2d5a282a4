use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_sender_shared_by_many_is_rebuilt_once_at_a_time() {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    send(&sender, "first").await.unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let breaker = async {
        let mut breaks = 0;
        while Instant::now() < end {
            sleep(Duration::from_millis(100)).await;
            hub.end_links(C2D, &AmqpError::new(AmqpScope::Link));
            breaks += 1;
        }
        breaks
    };
    let tasks = join_all((0..200).map(|task| {
        let (sender, end) = (sender.clone(), end);
        async move {
            let (mut sent, mut number) = (0, 0);
            while Instant::now() < end {
                number += 1;
                match send(&sender, format!("{task}.{number}")).await {
                    Ok(_) => sent += 1,
                    Err(error) => assert!(facts(&error).attempts <= 9, "{error}"),
                }
                sleep(Duration::from_millis(250)).await;
            }
            sent
        }
    }));
    let (breaks, sent) = futures::join!(breaker, tasks);

    // What the hub took is the judge: all that was acknowledged, and nothing twice.
    let mut taken = ids(&hub);
    let acknowledged: usize = sent.iter().sum::<usize>() + 1;
    assert!(taken.len() >= acknowledged, "{} < {acknowledged}", taken.len());
    taken.sort_unstable();
    let all = taken.len();
    taken.dedup();
    assert_eq!(taken.len(), all);
    assert!(
        hub.attaches(C2D) <= breaks + 1,
        "{} attaches for {breaks} breaks",
        hub.attaches(C2D)
    );
    assert_eq!(hub.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_at_once_are_not_made_in_a_storm() {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    let begin = Instant::now();
    let breaker = async {
        while begin.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(50)).await;
            hub.end_connections(&AmqpError::new(AmqpScope::Connection));
        }
    };
    let caller = async {
        let mut id = 0;
        while begin.elapsed() < Duration::from_secs(60) {
            id += 1;
            // Those that fail have waited their time.
            drop(send(&sender, id).await);
            sleep(Duration::from_millis(10)).await;
        }
    };
    futures::join!(breaker, caller);
    assert!(hub.connects() <= 20, "{}", hub.connects());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_restarts_every_five_seconds_is_found_again_every_time() {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    let mut id = 0;
    for _ in 0..120 {
        hub.refuse_connects(2);
        hub.end_connections(&AmqpError::new(AmqpScope::Connection).with_condition("amqp:connection:forced", ""));
        let restarted = Instant::now();
        while restarted.elapsed() < Duration::from_secs(5) {
            id += 1;
            send(&sender, id).await.expect("it recovers within the deadline");
            assert!(restarted.elapsed() < Duration::from_secs(6));
            sleep(Duration::from_millis(500)).await;
        }
    }
    assert_eq!(hub.sent().len(), id);
}
