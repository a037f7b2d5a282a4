use azure_core::time::Duration as SignedDuration;
use tokio::time::{Instant, sleep};

use super::*;
use crate::testing::TokenAnswer;

#[tokio::test(start_paused = true)]
async fn put_token_says_what_hubs_expect() -> Result<()> {
    let hub = ScriptedAmqp::new();
    connect(&hub).warm_up(HOUR).await?;
    let [put] = &hub.tokens()[..] else { panic!("one token") };
    let property = |name| put.application_property(name).and_then(AmqpValue::as_str);
    assert_eq!(property("operation"), Some("put-token"));
    assert_eq!(property("type"), Some("servicebus.windows.net:sastoken"));
    assert_eq!(property("name"), Some("my-hub.azure-devices.net"));
    assert_eq!(put.body, AmqpBody::Value("SharedAccessSignature 1".into()));
    let Some(AmqpValue::Timestamp(expiration)) = put.application_property("expiration") else {
        panic!("a timestamp");
    };
    assert!((*expiration - OffsetDateTime::now_utc() - SignedDuration::hours(1)).abs() < SignedDuration::minutes(1));
    assert!(put.message_id.is_some());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_jwt_is_a_bearer() -> Result<()> {
    #[derive(Debug)]
    struct Jwt;
    #[async_trait]
    impl CbsTokenSource for Jwt {
        async fn token(&self) -> Result<CbsToken> {
            Ok(CbsToken {
                kind: CbsTokenKind::Jwt,
                secret: Secret::new("a.b.c"),
                expires_on: OffsetDateTime::now_utc() + HOUR,
            })
        }
        fn refused(&self, _token: &CbsToken) {}
    }
    let hub = ScriptedAmqp::new();
    let host = "my-hub.azure-devices.net".parse()?;
    let connection = HubConnection::new(host, Arc::new(hub.clone()), Arc::new(Jwt), Default::default());
    connection.warm_up(HOUR).await?;
    let put = &hub.tokens()[0];
    assert_eq!(put.application_property("type"), Some(&"Bearer".into()));
    assert_eq!(put.body, AmqpBody::Value("Bearer a.b.c".into()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_statuses_are_a_success() -> Result<()> {
    for status in [200, 202] {
        let hub = ScriptedAmqp::new();
        hub.answer_tokens([TokenAnswer::Status(status, String::new())]);
        connect(&hub).warm_up(HOUR).await?;
        assert_eq!(hub.tokens().len(), 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(HOUR);
    hub.answer_tokens([TokenAnswer::refused(401)]);
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    send(&sender, 1).await?;
    assert_eq!(tokens.refusals(), ["SharedAccessSignature 1"]);
    assert_eq!((tokens.made(), hub.connects()), (2, 1));

    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(HOUR);
    hub.answer_tokens([TokenAnswer::refused(401), TokenAnswer::refused(401)]);
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    let begin = Instant::now();
    let error = send(&sender, 1).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("GenericUnauthorized"));
    assert_eq!(error.kind(), &ErrorKind::Credential);
    assert_eq!((tokens.made(), hub.connects()), (2, 1));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(hub.open_connections(), 0);

    send(&sender, 2).await?;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "the role was given in the meantime"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn statuses_decide_between_telling_and_trying_again() -> Result<()> {
    for (status, is_told) in [
        (400, true),
        (403, true),
        (404, true),
        (408, false),
        (500, false),
        (504, false),
    ] {
        let hub = ScriptedAmqp::new();
        hub.answer_tokens([TokenAnswer::refused(status)]);
        let begin = Instant::now();
        let sent = send(&c2d(&connect(&hub)), 1).await;
        assert_eq!(sent.is_err(), is_told, "{status}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{status}");
    }
    for status in [429, 503] {
        let hub = ScriptedAmqp::new();
        hub.answer_tokens([TokenAnswer::refused(status)]);
        let begin = Instant::now();
        send(&c2d(&connect(&hub)), 1).await?;
        assert!(begin.elapsed() > Duration::from_secs(3), "{status}");
        assert_eq!(hub.connects(), 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_answer_means_another_connection() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.answer_tokens([TokenAnswer::Silence]);
    let begin = Instant::now();
    send(&c2d(&connect(&hub)), 1).await?;
    assert_eq!((hub.connects(), hub.tokens().len()), (2, 2));
    assert!((15..20).contains(&begin.elapsed().as_secs()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_answers_its_own_question_only() -> Result<()> {
    // The first token is answered with the second, which is refused: if the late 200 counted for it, this would pass.
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(Duration::from_secs(100));
    let connection = connect_with(&hub, tokens.clone());
    connection.warm_up(HOUR).await?;
    hub.answer_tokens([TokenAnswer::Late, TokenAnswer::refused(500)]);
    sleep(Duration::from_secs(120)).await;
    assert!(
        hub.tokens().len() >= 4,
        "renewed, without an answer, refused, and renewed at last"
    );
    assert_eq!((hub.connects(), tokens.refusals().len()), (1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_place_before_it_expires() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(Duration::from_secs(60));
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    let begin = Instant::now();
    let mut id = 0;
    while tokens.made() <= 60 {
        send(&sender, id).await?;
        id += 1;
        sleep(Duration::from_secs(1)).await;
    }
    let life = begin.elapsed().as_secs_f64() / 60.0;
    assert!((45.0..52.0).contains(&life), "{life}");
    assert_eq!((hub.connects(), hub.attaches(C2D), hub.attaches("$cbs")), (1, 1, 2));
    assert_eq!(hub.sent().len(), id);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_nobodys_business_while_the_old_token_lives() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(Duration::from_secs(600));
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    send(&sender, 0).await?;
    tokens.fail([ErrorKind::Credential, ErrorKind::Io, ErrorKind::Other]);
    hub.answer_tokens([
        TokenAnswer::refused(503),
        TokenAnswer::refused(401),
        TokenAnswer::refused(401),
        TokenAnswer::Silence,
        TokenAnswer::End(end_of(AmqpScope::Link)),
    ]);
    for id in 1..1200 {
        send(&sender, id).await?;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!((hub.connects(), hub.attaches(C2D)), (1, 1));
    assert_eq!(hub.sent().len(), 1200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn links_to_cbs_that_were_closed_are_made_anew_without_ado() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(Duration::from_secs(100));
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    send(&sender, 1).await?;
    hub.end_links("$cbs", &end_of(AmqpScope::Link));
    hub.until(|hub| hub.tokens().len() == 2).await;
    send(&sender, 2).await?;
    assert_eq!((hub.connects(), hub.attaches("$cbs"), hub.attaches(C2D)), (1, 4, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_new_token_is_asked_again_and_the_old_one_not_sent_twice() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(Duration::from_secs(1000));
    let connection = connect_with(&hub, tokens.clone());
    connection.warm_up(HOUR).await?;
    tokens.keep();
    sleep(Duration::from_secs(950)).await;
    assert_eq!(hub.tokens().len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_give_a_token_is_told_to_the_caller() {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(HOUR);
    tokens.fail([ErrorKind::Credential]);
    let sender = c2d(&connect_with(&hub, tokens));
    let error = send(&sender, 1).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Credential);
    assert!(error.to_string().contains("no token to be had"), "{error}");
    assert!(hub.tokens().is_empty());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_at_once_need_one_token() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(HOUR);
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    let calls = (0..10_000).map(|id| {
        let sender = sender.clone();
        async move { send(&sender, id).await }
    });
    let sent = futures::future::join_all(calls).await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!((tokens.made(), hub.connects(), hub.attaches(C2D)), (1, 1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_old_connection_does_not_authorize_the_new_one() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let tokens = Tokens::living(HOUR);
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    hub.answer_tokens([TokenAnswer::Silence]);
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { send(&sender, 1).await }
    });
    hub.until(|hub| hub.tokens().len() == 1).await;
    // Its answer cannot come any more; and if it did, there would be nobody to take it for another's.
    hub.end_connections(&end_of(AmqpScope::Connection));
    waiting.await.expect("it did not panic")?;
    assert_eq!((hub.connects(), hub.tokens().len()), (2, 2));
    assert_eq!(hub.attaches(C2D), 1, "no link before the new connection was authorized");
    Ok(())
}
