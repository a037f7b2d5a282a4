use tokio::time::{sleep, timeout};

use super::*;
use crate::testing::SendAnswer;

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_task_and_socket_with_it() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let connection = connect(&hub);
    let other = connection.clone();
    let sender = c2d(&connection);
    let mut receiver = feedback(&connection);
    send(&sender, 1).await?;
    receiver.next().await;
    drop((connection, other));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(hub.open_connections(), 1, "sender and receiver are handles too");

    drop(sender);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((hub.open_links(C2D), hub.open_links(FEEDBACK)), (0, 1));
    drop(receiver);
    timeout(Duration::from_secs(1), hub.until(|hub| hub.open_connections() == 0))
        .await
        .expect("the socket is closed");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_thousand_lives_leave_nothing_behind() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let metrics = tokio::runtime::Handle::current().metrics();
    for life in 0..2_000 {
        let connection = connect(&hub);
        match life % 5 {
            0 => connection.warm_up(HOUR).await?,
            1 => drop(send(&c2d(&connection), life).await?),
            2 => drop(feedback(&connection).next().await),
            3 => {
                // Dropped in the middle of whatever the hub is about.
                drop(timeout(Duration::ZERO, connection.warm_up(HOUR)).await);
            }
            _ => {
                hub.answer_sends([SendAnswer::Hold]);
                let receipt = c2d(&connection).send(message(life), SendOptions::default()).await?;
                connection.close().await?;
                assert!(receipt.await.is_err());
            }
        }
    }
    hub.until(|hub| hub.open_connections() == 0).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (hub.open_links(C2D), hub.open_links(FEEDBACK), hub.open_links("$cbs")),
        (0, 0, 0)
    );
    assert_eq!(metrics.num_alive_tasks(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_stays_closed() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let connection = connect(&hub);
    let sender = c2d(&connection);
    send(&sender, 1).await?;
    connection.close().await?;
    connection.close().await?;
    for error in [
        send(&sender, 2).await.unwrap_err(),
        send(&c2d(&connection), 3).await.unwrap_err(),
        connection.warm_up(HOUR).await.unwrap_err(),
        sender.warm_up(Default::default()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("closed by this application"), "{error}");
    }
    assert_eq!((hub.connects(), hub.open_connections()), (1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn closing_ends_what_waits() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.refuse_connects(1000);
    let connection = connect(&hub);
    let sender = c2d(&connection);
    let waiting = tokio::spawn(async move { send(&sender, 1).await });
    hub.until(|hub| hub.connects() > 2).await;
    connection.close().await?;
    let error = waiting.await.expect("it did not panic").unwrap_err();
    assert!(error.to_string().contains("closed by this application"), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_silent_hub_does_not_hold_up_a_close() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let connection = connect(&hub);
    connection.warm_up(HOUR).await?;
    hub.fall_silent();
    let error = timeout(Duration::from_secs(6), connection.close())
        .await
        .expect("in time");
    assert!(error.is_err());
    assert_eq!(hub.open_connections(), 0);
    Ok(())
}

#[test]
fn a_client_survives_the_runtime_it_was_first_used_in() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    for id in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(send(&sender, id))?;
    }
    assert_eq!(ids(&hub), ["0", "1", "2"]);
    assert_eq!(hub.connects(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_connects_for_callers_that_are_gone() {
    let hub = ScriptedAmqp::new();
    hub.refuse_connects(100_000);
    let connection = connect(&hub);
    assert!(connection.warm_up(Duration::from_secs(30)).await.is_err());
    let before = hub.connects();
    sleep(HOUR).await;
    assert!(hub.connects() <= before + 1, "{} after {before}", hub.connects());
}

#[test]
fn handles_can_be_shared() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is_shared::<HubConnection>();
    is_shared::<HubSender>();
    is_sent::<HubReceiver>();
    is_sent::<HubReceipt>();
    is_sent::<HubDelivery>();
}
