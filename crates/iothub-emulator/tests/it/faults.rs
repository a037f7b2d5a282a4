use std::time::Duration;

use iothub_emulator::{CertificateFlaw, Emulator, EmulatorOptions, Event, Fault, Garble, Operation, When};

use crate::client::{Client, Reply, try_tls_as};

fn creations(emulator: &Emulator) -> usize {
    emulator.journal().count(|event| {
        matches!(
            event,
            Event::Executed {
                operation: Operation::Create,
                ..
            }
        )
    })
}

#[tokio::test]
async fn throttling_does_nothing_and_says_so() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.faults().throttle_next(2);
    for (expected, count) in [
        ("429 ThrottlingException", 0),
        ("429 ThrottlingException", 0),
        ("200", 1),
    ] {
        // The hub closes the connection with the refusal.
        let mut client = Client::new(&emulator, "iothubowner").await;
        let reply = client.put("/devices/lamp", None, "{}").await;
        assert_eq!(reply.outcome(), expected);
        assert_eq!(reply.header("retry-after"), None);
        assert_eq!(creations(&emulator), count);
    }
}

#[tokio::test]
async fn a_lost_answer_was_carried_out_and_a_lost_request_was_not() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for (id, executed) in [("kept", 1), ("lost", 1)] {
        match id {
            "kept" => emulator.faults().lose_next_answers(1),
            _ => emulator.faults().lose_next_requests(1),
        }
        let mut client = Client::new(&emulator, "iothubowner").await;
        let token = client.token.clone();
        let path = format!("/devices/{id}?api-version=2021-04-12");
        let lost = client.raw("PUT", &path, &[("authorization", &token)], "{}").await;
        assert!(lost.is_err(), "{id}");
        assert_eq!(creations(&emulator), executed, "{id}");
    }
}

/// The answer to a creation with this fault, and whether it was carried out.
async fn create_with(fault: Fault) -> (hyper::Result<Reply>, bool) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    emulator.faults().inject(fault.clone(), When::Next(1)).unwrap();
    let token = client.token.clone();
    let path = "/devices/lamp?api-version=2021-04-12";
    let reply = client.raw("PUT", path, &[("authorization", &token)], "{}").await;
    assert_eq!(
        emulator
            .journal()
            .count(|event| matches!(event, Event::Fault { name } if *name == fault.name())),
        1
    );
    (reply, creations(&emulator) == 1)
}

#[tokio::test]
async fn a_redirect_does_nothing_and_leads_away() {
    let location = "https://elsewhere.invalid/".to_owned();
    let (reply, created) = create_with(Fault::Redirect { location, status: 308 }).await;
    let reply = reply.unwrap();
    assert_eq!((reply.status.as_u16(), created), (308, false));
    assert_eq!(reply.header("location"), Some("https://elsewhere.invalid/"));
}

#[tokio::test]
async fn a_cut_answer_was_carried_out_and_is_not_whole() {
    let (reply, created) = create_with(Fault::CutAnswer { after: 10 }).await;
    assert!(reply.is_err() && created);
}

#[tokio::test]
async fn a_slow_answer_is_whole() {
    let (reply, created) = create_with(Fault::SlowAnswer {
        bytes_per_second: 100_000,
    })
    .await;
    assert_eq!(reply.unwrap().json()["deviceId"], "lamp");
    assert!(created);
}

#[tokio::test]
async fn a_delayed_answer_waits_for_the_clock() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    let by = Duration::from_secs(3600);
    emulator
        .faults()
        .inject(Fault::DelayAnswer { by }, When::Next(1))
        .unwrap();
    let turn = async {
        let delayed = |event: &Event| matches!(event, Event::Fault { name: "delay-answer" });
        emulator.journal().wait_for(delayed).await;
        emulator
            .journal()
            .wait_for(|event| matches!(event, Event::Executed { .. }))
            .await;
        // It may not have looked at the clock yet, and then waits for as long again.
        loop {
            emulator.clock().advance(by);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        reply = client.put("/devices/lamp", None, "{}") => assert_eq!(reply.outcome(), "200"),
        () = turn => {}
    }
}

#[tokio::test]
async fn garbled_answers_were_carried_out() {
    for (kind, is_json) in [
        (Garble::Empty, false),
        (Garble::Null, true),
        (Garble::WrongType, true),
        (Garble::Truncated, false),
        (Garble::NotUtf8, false),
        (Garble::ByteOrderMark, false),
        (Garble::Deep, false),
        (Garble::Html, false),
        (Garble::ContentType, true),
        (Garble::LongHeader, true),
        (Garble::ManyHeaders, true),
    ] {
        let (reply, created) = create_with(Fault::GarbleAnswer { kind }).await;
        assert!(created, "{kind:?}");
        match reply {
            Ok(reply) => {
                let json = serde_json::from_slice::<serde_json::Value>(&reply.body);
                assert_eq!(json.is_ok(), is_json, "{kind:?}: {reply:?}");
            }
            // What no client of hyper's takes.
            Err(error) => assert!(
                matches!(kind, Garble::LongHeader | Garble::ManyHeaders) && error.is_parse(),
                "{kind:?}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn certificates_with_flaws_are_what_they_say() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for (flaw, why) in [
        (CertificateFlaw::Expired, "expired"),
        (CertificateFlaw::NotYetValid, "not valid yet"),
        (CertificateFlaw::OtherHost, "not valid for name"),
        (CertificateFlaw::UnknownAuthority, "UnknownIssuer"),
    ] {
        emulator
            .faults()
            .inject(Fault::Certificate { flaw }, When::Next(1))
            .unwrap();
        let port = emulator.host().amqps_port();
        let error = try_tls_as(&emulator, port, b"", None).await.unwrap_err().to_string();
        assert!(error.contains(why), "{flaw:?}: {error}");
        // The next connection has a good one.
        try_tls_as(&emulator, port, b"", None).await.unwrap();
    }
    let flaw = CertificateFlaw::Renewed;
    emulator
        .faults()
        .inject(Fault::Certificate { flaw }, When::Next(1))
        .unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
}

#[tokio::test]
async fn a_refused_connection_never_is_one() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator
        .faults()
        .inject(Fault::RefuseConnection, When::Next(2))
        .unwrap();
    for port in [emulator.host().https_port(), emulator.host().amqps_port()] {
        try_tls_as(&emulator, port, b"", None).await.unwrap_err();
    }
    let mut client = Client::new(&emulator, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
}

#[tokio::test]
async fn a_connection_is_cut_in_the_middle_of_a_request() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let cut = Fault::CutConnection {
        after_read: Some(3000),
        after_written: None,
    };
    emulator.faults().inject(cut, When::Next(1)).unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    let token = client.token.clone();
    let body = format!(r#"{{"statusReason":"{}"}}"#, "x".repeat(10_000));
    let path = "/devices/lamp?api-version=2021-04-12";
    client
        .raw("PUT", path, &[("authorization", &token)], &body)
        .await
        .unwrap_err();
    assert_eq!(creations(&emulator), 0);
}

#[tokio::test]
async fn a_hub_that_speaks_byte_by_byte_is_understood() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.faults().inject(Fault::SplitConnection, When::Next(2)).unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    assert_eq!(client.put("/devices/lamp", None, "{}").await.outcome(), "200");
    let mut service = crate::amqp::Service::connect(&emulator).await;
    service.send("lamp", "m", None, Default::default(), "on").await;
    assert_eq!(emulator.device("lamp").unwrap().recv().await.body, "on");
}

#[tokio::test]
async fn a_turned_clock_ends_tokens() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
    emulator.clock().advance(Duration::from_secs(100 * 366 * 24 * 3600));
    assert_eq!(client.get("/devices").await.outcome(), "401 IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn root_and_keys_move_into_the_data_directory() {
    let directory = std::env::temp_dir().join(format!("iothub-emulator-{}", std::process::id()));
    let options = EmulatorOptions {
        data_dir: Some(directory.clone()),
        ..Default::default()
    };
    let first = Emulator::start(options.clone()).await.unwrap();
    let root = first.root_certificate().to_owned();
    let key = |emulator: &Emulator| {
        let text = emulator.connection_string("service").unwrap();
        text.split_once(";").unwrap().1.to_owned()
    };
    let keys = key(&first);
    first.shutdown().await;

    let second = Emulator::start(options).await.unwrap();
    assert_eq!(second.root_certificate(), root);
    assert_eq!(key(&second), keys);
    // The handshake shows that the kept root signs for the new certificate.
    let mut client = Client::new(&second, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
    std::fs::remove_dir_all(directory).unwrap();
}
