//! Whatever breaks between a client and its hub while messages go out and feedback comes back: nothing that was
//! acknowledged is lost, nothing is there twice unasked, and the receiver is back in time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use azure_core::{cloud::CustomConfiguration, credentials::Secret, http::ClientOptions};
use futures::future::join_all;
use iothub_auth::{ClientSecretCredential, ClientSecretCredentialOptions, Credential};
use iothub_core::Result;
use iothub_emulator::{AmqpEvent, Emulator, EmulatorOptions, EntraOptions, Event};
use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport, Proxy};
use uuid::Uuid;

use crate::{
    hub::{Hub, client, client_by, credential, http, over, transport},
    network::Network,
    traffic::{Load, Traffic, lamps},
};

#[tokio::test]
async fn a_link_that_is_detached_with_any_condition_is_made_anew() {
    let hub = Hub::with_a_lamp().await;
    let _lamps = lamps(&hub.emulator);
    let traffic = Traffic::start(&hub.service, Load::default());
    // Each time there are messages under way that the hub has stored and not settled.
    for condition in [
        None,
        Some("amqp:link:detach-forced"),
        Some("amqp:link:stolen"),
        Some("amqp:link:transfer-limit-exceeded"),
        Some("amqp:link:redirect"),
        Some("amqp:link:message-size-exceeded"),
        Some("amqp:session:errant-link"),
        Some("amqp:session:handle-in-use"),
        Some("amqp:session:unattached-handle"),
        Some("amqp:session:window-violation"),
        Some("amqp:connection:forced"),
        Some("amqp:unauthorized-access"),
        Some("amqp:resource-limit-exceeded"),
        Some("amqp:decode-error"),
        Some("amqp:invalid-field"),
        Some("amqp:not-allowed"),
        Some("amqp:not-implemented"),
        Some("amqp:not-found"),
        Some("amqp:precondition-failed"),
        Some("com.microsoft:quota-exceeded"),
        Some("com.microsoft:iot-hub-suspended"),
        Some("com.microsoft:iot-hub-not-found-error"),
        Some("com.microsoft:device-already-exists"),
        Some("com.microsoft:precondition-failed"),
        Some("com.microsoft:argument-error"),
        Some("com.microsoft:argument-out-of-range"),
        Some("com.microsoft:entity-disabled"),
        Some("com.microsoft:message-lock-lost"),
        Some("vendor:never-seen"),
    ] {
        hub.faults().hold_settlements();
        traffic.flows().await;
        let fault = Instant::now();
        hub.faults().detach_links("/messages/", condition);
        hub.faults().settle_again();
        traffic.is_back(&format!("{condition:?}"), fault, RESUMED).await;
    }
    traffic.ends_well(&[], &hub.emulator).await;
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    End(Option<&'static str>),
    Close(Option<&'static str>),
    Reset,
    /// What authorizes is gone when it is needed.
    DetachCbs,
}

#[tokio::test]
async fn sessions_and_connections_that_end_are_made_anew_and_at_least_once_sends_again() {
    let hub = Hub::with_a_lamp().await;
    let _lamps = lamps(&hub.emulator);
    let load = Load {
        at_least_once: true,
        ..Load::default()
    };
    let traffic = Traffic::start(&hub.service, load);
    for fault in [
        Fault::End(None),
        Fault::End(Some("amqp:session:window-violation")),
        Fault::End(Some("amqp:session:errant-link")),
        Fault::End(Some("amqp:session:handle-in-use")),
        Fault::End(Some("amqp:session:unattached-handle")),
        Fault::Close(None),
        Fault::Close(Some("amqp:connection:forced")),
        Fault::Close(Some("amqp:connection:framing-error")),
        Fault::Close(Some("amqp:connection:redirect")),
        Fault::Close(Some("amqp:unauthorized-access")),
        Fault::Reset,
        Fault::DetachCbs,
    ] {
        hub.faults().hold_settlements();
        traffic.flows().await;
        let now = Instant::now();
        match fault {
            Fault::End(condition) => hub.faults().end_sessions(condition),
            Fault::Close(condition) => hub.faults().close_connections(condition),
            Fault::Reset => hub.faults().drop_connections(),
            Fault::DetachCbs => {
                hub.faults().detach_links("$cbs", None);
                hub.faults()
                    .detach_links("/messages/", Some("amqp:unauthorized-access"));
            }
        }
        hub.faults().settle_again();
        traffic.is_back(&format!("{fault:?}"), now, RESUMED).await;
    }
    traffic.ends_well(&[], &hub.emulator).await;
}

#[tokio::test]
async fn a_busy_hub_is_left_alone_for_some_seconds() {
    let stories = [
        "com.microsoft:server-busy",
        "com.microsoft:device-container-throttled",
        "com.microsoft:timeout",
        "com.microsoft:operation-cancelled",
        "amqp:internal-error",
    ];
    let stories = stories.map(|condition| async move {
        let hub = Hub::with_a_lamp().await;
        let _lamps = lamps(&hub.emulator);
        let load = Load {
            pace: Duration::from_millis(20),
            ..Load::default()
        };
        let traffic = Traffic::start(&hub.service, load);
        traffic.flows().await;
        let fault = Instant::now();
        hub.faults().detach_links("/messages/", Some(condition));
        let took = traffic.is_back(condition, fault, RESUMED + LONGEST_PAUSE).await;
        assert!(took >= SHORTEST_PAUSE, "{condition}: back after {took:?}");
        traffic.ends_well(&[], &hub.emulator).await;
    });
    join_all(stories).await;
}

#[tokio::test]
async fn a_hub_that_restarts_is_found_again() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("iothub-service-{}", Uuid::new_v4()));
    let start = || async {
        let options = EmulatorOptions {
            data_dir: Some(directory.clone()),
            ..EmulatorOptions::default()
        };
        let hub = Emulator::start(options).await?;
        let lamps = lamps(&hub);
        Result::Ok((hub, lamps))
    };
    let (mut hub, mut taking) = start().await?;
    let network = Network::to(hub.host()).await;
    let service = client_by(
        network.host(hub.host()),
        credential(&hub, "service"),
        transport(&hub, Carrier::Tls),
        http(&hub, Proxy::Direct),
    );
    let traffic = Traffic::start(&service, Load::default());
    let mut journals = Vec::new();
    for restart in 0..3 {
        traffic.flows().await;
        journals.push(hub.journal().clone());
        network.refuse();
        hub.shutdown().await;
        drop(taking);
        (hub, taking) = start().await?;
        let fault_ends = Instant::now();
        network.lead_to(hub.host());
        traffic
            .is_back(&format!("restart {restart}"), fault_ends, RESUMED)
            .await;
    }
    traffic.ends_well(&journals, &hub).await;
    drop(std::fs::remove_dir_all(directory));
    Ok(())
}

#[tokio::test]
async fn a_connection_that_has_died_in_silence_is_noticed_and_replaced() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let _lamps = lamps(&hub.emulator);
    let network = Network::to(hub.emulator.host()).await;
    let options = AmqpOptions {
        extra_roots: vec![hub.emulator.root_certificate().to_owned().into()],
        idle_timeout: IDLE,
        ..AmqpOptions::default()
    };
    let service = client_by(
        network.host(hub.emulator.host()),
        credential(&hub.emulator, "service"),
        Fe2o3Transport::new(options)?,
        http(&hub.emulator, Proxy::Direct),
    );
    let traffic = Traffic::start(&service, Load::default());
    for round in 0..3 {
        traffic.flows().await;
        let fault = Instant::now();
        network.fall_silent();
        traffic
            .is_back(&format!("silence {round}"), fault, IDLE + RESUMED)
            .await;
        // Until then the hub sends feedback there, too.
        network.let_the_hub_give_up();
    }
    traffic.ends_well(&[], &hub.emulator).await;
    Ok(())
}

#[tokio::test]
async fn tokens_that_expire_before_their_time_are_replaced() -> Result<()> {
    let lifetime = Duration::from_secs(600);
    let options = EmulatorOptions {
        entra: EntraOptions {
            token_lifetime: lifetime,
            ..EntraOptions::default()
        },
        ..EmulatorOptions::default()
    };
    let hub = Emulator::start(options).await?;
    let _lamps = lamps(&hub);
    let service = client(&hub, app(&hub)?, transport(&hub, Carrier::Tls));
    let traffic = Traffic::start(&service, Load::default());
    for round in 0..3 {
        traffic.flows().await;
        // To the client the token is good for minutes.
        let fault = Instant::now();
        hub.clock().advance(lifetime);
        traffic.is_back(&format!("expiry {round}"), fault, RESUMED).await;
    }
    let opened = hub.journal().count(|event| {
        matches!(
            event,
            Event::Amqp {
                event: AmqpEvent::Opened { .. },
                ..
            }
        )
    });
    assert_eq!(opened, 1, "a new token needs no new connection");
    traffic.ends_well(&[], &hub).await;
    Ok(())
}

/// What the published limits allow a receiver after the end of a fault.
const RESUMED: Duration = Duration::from_secs(5);

/// What a hub that says it is busy is granted: five seconds, a quarter more or less.
const SHORTEST_PAUSE: Duration = Duration::from_millis(3750);
const LONGEST_PAUSE: Duration = Duration::from_millis(6250);

const IDLE: Duration = Duration::from_secs(1);

/// The app that the emulator's tenant knows.
fn app(hub: &Emulator) -> Result<Credential> {
    let app = hub.entra().application();
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host = hub.entra().authority();
    let options = ClientSecretCredentialOptions {
        client_options: ClientOptions {
            cloud: Some(Arc::new(cloud.into())),
            ..over(http(hub, Proxy::Direct))
        },
    };
    let (tenant, id, secret) = (hub.entra().tenant_id(), app.client_id(), app.client_secret());
    let credential = ClientSecretCredential::new(tenant, id, Secret::new(secret.to_owned()), Some(options))?;
    Ok(credential.into())
}
