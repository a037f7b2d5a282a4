use http::{Method, Request};
use hyper::body::Incoming;
use iothub_core::HubErrorCode;

use super::{
    Answer, Caller, Rooms, call::Call, configurations, device_files, device_messages, devices, digital_twins, feedback,
    jobs, keys, methods, modules, queries, scheduled_jobs, twins,
};
use crate::hub::{Failure, Hub};

/// Reads a request, has the hub do it, waits until what it did is there for good, and writes the answer.
pub(crate) async fn answer(rooms: &Rooms, caller: &Caller, request: Request<Incoming>) -> Answer {
    let changes_something = !request.method().is_safe();
    let mut outcome = match Call::read(&rooms.hub, caller, request).await {
        Ok(call) => route(rooms, call).await,
        Err(failure) => Err(failure),
    };
    if changes_something {
        // Also what fails may have changed something before it did.
        outcome = rooms.hub.persisted().await.and(outcome);
    }
    outcome.unwrap_or_else(|failure| Answer::refusal(&failure, rooms.hub.clock().now()))
}

async fn route(rooms: &Rooms, call: Call) -> Result<Answer, Failure> {
    let hub = &rooms.hub;
    let path = call.lower_path();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (&call.method, &path[..]) {
        (&Method::POST, ["devices", "query"]) => queries::run(hub, call).await,
        (&Method::POST, ["twins", _, "methods"] | ["twins", _, "modules", _, "methods"]) => {
            methods::invoke(hub, &call).await
        }
        (&Method::POST, ["digitaltwins", _, "commands", _]) => digital_twins::invoke(hub, &call, None, 3).await,
        (&Method::POST, ["digitaltwins", _, "components", _, "commands", _]) => {
            digital_twins::invoke(hub, &call, Some(3), 5).await
        }
        (&Method::GET, ["configurations"]) => configurations::aside(hub, call, configurations::list).await,
        (&Method::GET, ["configurations", _]) => configurations::aside(hub, call, configurations::get).await,
        (&Method::PUT, ["configurations", _]) => configurations::aside(hub, call, configurations::put).await,
        (&Method::DELETE, ["configurations", _]) => configurations::aside(hub, call, configurations::delete).await,
        (&Method::POST, ["devices", _, "files", "notifications"] | ["devices", _, "files", "notifications", _]) => {
            device_files::end(hub, &call).await
        }
        (&Method::POST, ["jobs", "create"]) => jobs::create(&rooms.dispatcher, &call).await,
        (method, path) => answer_at_once(hub, &call, method, path),
    }
}

/// What needs no waiting, which is nearly everything.
fn answer_at_once(hub: &Hub, call: &Call, method: &Method, path: &[&str]) -> Result<Answer, Failure> {
    // They are tried one after the other, so what is asked for most stands first.
    match (method, path) {
        (&Method::GET, ["twins", _] | ["twins", _, "modules", _]) => twins::get(hub, call),
        (&Method::PATCH, ["twins", _] | ["twins", _, "modules", _]) => twins::patch(hub, call),
        (&Method::PUT, ["twins", _] | ["twins", _, "modules", _]) => twins::put(hub, call),
        (&Method::GET, ["devices"]) => devices::list(hub, call),
        (&Method::POST, ["devices"]) => devices::bulk(hub, call),
        (&Method::POST, ["devices", "keys", "regenerate"]) => keys::regenerate(hub, call),
        (&Method::GET, ["devices", _]) => devices::get(hub, call),
        (&Method::PUT, ["devices", _]) => devices::put(hub, call),
        (&Method::DELETE, ["devices", _]) => devices::delete(hub, call),
        (&Method::GET, ["devices", _, "modules"]) => modules::list(hub, call),
        (&Method::GET, ["devices", _, "modules", _]) => modules::get(hub, call),
        (&Method::PUT, ["devices", _, "modules", _]) => modules::put(hub, call),
        (&Method::DELETE, ["devices", _, "modules", _]) => modules::delete(hub, call),
        (&Method::GET, ["digitaltwins", _]) => digital_twins::get(hub, call),
        (&Method::PATCH, ["digitaltwins", _]) => digital_twins::patch(hub, call),
        (&Method::DELETE, ["devices", _, "commands"] | ["devices", _, "modules", _, "commands"]) => {
            devices::purge(hub, call)
        }
        (&Method::GET, ["messages", "servicebound", "feedback"]) => feedback::receive(hub, call),
        (&Method::DELETE, ["messages", "servicebound", "feedback", _]) => feedback::complete(hub, call),
        (&Method::POST, ["messages", "servicebound", "feedback", _, "abandon"]) => feedback::abandon(hub, call),
        (&Method::POST, ["devices", _, "messages", "events"]) => device_messages::send(hub, call),
        (&Method::GET, ["devices", _, "messages", "devicebound"]) => device_messages::receive(hub, call),
        (&Method::DELETE, ["devices", _, "messages", "devicebound", _]) => device_messages::complete(hub, call),
        (&Method::POST, ["devices", _, "messages", "devicebound", _, "abandon"]) => device_messages::abandon(hub, call),
        (&Method::POST, ["devices", _, "files"]) => device_files::begin(hub, call),
        (&Method::POST, ["configurations", "testqueries"]) => configurations::test_queries(hub, call),
        (&Method::POST, ["devices", _, "applyconfigurationcontent"]) => configurations::apply(hub, call),
        (&Method::GET, ["jobs"]) => jobs::list(hub, call),
        (&Method::GET, ["jobs", _]) => jobs::get(hub, call),
        (&Method::DELETE, ["jobs", _]) => jobs::cancel(hub, call),
        (&Method::GET, ["jobs", "v2", "query"]) => scheduled_jobs::list(hub, call),
        (&Method::GET, ["jobs", "v2", _]) => scheduled_jobs::get(hub, call),
        (&Method::PUT, ["jobs", "v2", _]) => scheduled_jobs::put(hub, call),
        (&Method::POST, ["jobs", "v2", _, "cancel"]) => scheduled_jobs::cancel(hub, call),
        (&Method::GET, ["statistics", "devices"]) => hub.device_statistics(&call.grant).map(Answer::json),
        (&Method::GET, ["statistics", "service"]) => hub.service_statistics(&call.grant).map(Answer::json),
        (method, path) => Err(unknown(method, path)),
    }
}

fn unknown(method: &Method, path: &[&str]) -> Failure {
    let text = format!("there is no {method} /{}", path.join("/"));
    Failure::new(HubErrorCode::GenericNotFound, text)
}
