//! Devices for the emulator that follow the conventions of Plug and Play: they name their model, say what they have done
//! about each property that is wanted of them, and answer commands.

use iothub::{Error, Result};
use iothub_emulator::Device;
use serde_json::{Map, Value, json};

/// A model without components: the property `targetTemperature`, the command `getMaxMinReport`.
pub const THERMOSTAT: &str = "dtmi:com:example:Thermostat;1";

/// A model with two thermostats as components, `thermostat1` and `thermostat2`, and the command `reboot`.
pub const CONTROLLER: &str = "dtmi:com:example:TemperatureController;2";

/// Connects a device as a thermostat.
pub fn plug_in_thermostat(device: &Device) -> Result<()> {
    plug_in(device, THERMOSTAT, &json!({ "maxTempSinceLastReboot": 38.7 }))
}

/// Connects a device as a temperature controller.
pub fn plug_in_controller(device: &Device) -> Result<()> {
    let thermostat = json!({ "__t": "c", "maxTempSinceLastReboot": 38.7 });
    let state = json!({ "serialNumber": "SR-123456", "thermostat1": thermostat, "thermostat2": thermostat });
    plug_in(device, CONTROLLER, &state)
}

fn plug_in(device: &Device, model: &str, state: &Value) -> Result<()> {
    device.announce_model(model)?;
    device.report(&state.to_string())?;
    device.on_method(|name, payload| match name.rsplit('*').next() {
        Some("getMaxMinReport") => (
            200,
            format!(r#"{{"maxTemp":38.7,"minTemp":19.2,"startTime":{payload}}}"#),
        ),
        Some("reboot") => (202, String::new()),
        _ => (404, String::new()),
    })?;
    let mut changes = device.watch_desired()?;
    let device = device.clone();
    tokio::spawn(async move {
        while let Some(change) = changes.recv().await {
            let wanted: Map<String, Value> = serde_json::from_str(&change.patch)?;
            device.report(&done(wanted, change.version).to_string())?;
        }
        Ok::<(), Error>(())
    });
    Ok(())
}

/// What the device reports when it has done what is wanted: each value with a status and the version that asked for it.
fn done(wanted: Map<String, Value>, version: u64) -> Value {
    let members = wanted.into_iter().filter(|(name, _)| name != "$version");
    let reported = members.map(|(name, value)| match value {
        Value::Object(component) if component.contains_key("__t") => (name, done(component, version)),
        value if name == "__t" || value.is_null() => (name, value),
        value => (
            name,
            json!({ "value": value, "ac": 200, "av": version, "ad": "reached" }),
        ),
    });
    reported.collect::<Map<_, _>>().into()
}
