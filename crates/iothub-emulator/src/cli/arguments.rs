use std::{error::Error, fs, path::PathBuf};

use iothub_emulator::EmulatorOptions;
use lexopt::{Arg, Parser, ValueExt};
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

/// What somebody asked for when starting the binary.
pub(crate) struct Arguments {
    pub(crate) options: EmulatorOptions,
    /// A device that is to be there.
    pub(crate) device: Option<String>,
    /// How many built-in devices are to connect.
    pub(crate) simulate: Option<usize>,
    pub(crate) log: LevelFilter,
}

impl Arguments {
    /// `None` if only help was asked for.
    pub(crate) fn parse(mut parser: Parser) -> Result<Option<Self>, Box<dyn Error>> {
        let (options, named) = Self::configured(parser.clone())?;
        let mut arguments = Self {
            options,
            device: None,
            simulate: None,
            log: LevelFilter::INFO,
        };
        let options = &mut arguments.options;
        options.management_port.get_or_insert(0);
        let (mut https_port, mut amqps_port, mut mqtts_port) = (named.https_port, named.amqps_port, named.mqtts_port);
        let mut free_ports = false;
        while let Some(argument) = parser.next()? {
            match argument {
                // Read before.
                Arg::Long("config") => drop(parser.value()?),
                Arg::Long("host") => options.host = parser.value()?.string()?,
                Arg::Long("bind") => options.bind = parser.value()?.parse()?,
                Arg::Long("allow-remote") => options.allow_remote = true,
                Arg::Long("https-port") => https_port = Some(parser.value()?.parse()?),
                Arg::Long("amqps-port") => amqps_port = Some(parser.value()?.parse()?),
                Arg::Long("mqtts-port") => mqtts_port = Some(parser.value()?.parse()?),
                Arg::Long("device-authority") => {
                    let file = PathBuf::from(parser.value()?);
                    let pem = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                    options.device_authorities.push(pem);
                }
                Arg::Long("partitions") => options.hub.events.partitions = parser.value()?.parse()?,
                Arg::Long("consumer-group") => options.hub.events.consumer_groups.push(parser.value()?.string()?),
                Arg::Long("free-ports") => free_ports = true,
                Arg::Long("entra-port") => options.entra.port = parser.value()?.parse()?,
                Arg::Long("identity-port") => options.entra.identity_port = parser.value()?.parse()?,
                Arg::Long("management-port") => options.management_port = Some(parser.value()?.parse()?),
                Arg::Long("data-dir") => options.data_dir = Some(parser.value()?.into()),
                Arg::Long("ephemeral") => options.ephemeral = true,
                Arg::Long("seed") => options.seed = Some(parser.value()?.into()),
                Arg::Long("device") => arguments.device = Some(parser.value()?.string()?),
                Arg::Long("simulate") => arguments.simulate = Some(parser.value()?.parse()?),
                Arg::Long("log") => arguments.log = parser.value()?.parse()?,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let usual = |port| if free_ports { 0 } else { port };
        options.https_port = https_port.unwrap_or(usual(HTTPS));
        options.amqps_port = amqps_port.unwrap_or(usual(AMQPS));
        options.mqtts_port = mqtts_port.unwrap_or(usual(MQTTS));
        Ok(Some(arguments))
    }

    /// What the file says that `--config` names, and which ports of a hub it names.
    fn configured(mut parser: Parser) -> Result<(EmulatorOptions, NamedPorts), Box<dyn Error>> {
        let mut file = None;
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("config") => file = Some(PathBuf::from(parser.value()?)),
                _ => drop(parser.optional_value()),
            }
        }
        let Some(file) = file else {
            return Ok((EmulatorOptions::default(), NamedPorts::default()));
        };
        let within = |error: &dyn Error| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| within(&error))?;
        let options = EmulatorOptions::from_toml(&text).map_err(|error| within(&error))?;
        // The text is right by now, so that this cannot fail.
        Ok((options, toml::from_str(&text).unwrap_or_default()))
    }
}

/// The ports that have another default here than in the library.
#[derive(Default, Deserialize)]
struct NamedPorts {
    https_port: Option<u16>,
    amqps_port: Option<u16>,
    mqtts_port: Option<u16>,
}

/// The ports of a hub. Most of Microsoft's clients know no others.
const HTTPS: u16 = 443;
const AMQPS: u16 = 5671;
const MQTTS: u16 = 8883;

pub(crate) const USAGE: &str = "\
A local Azure IoT hub. When it is ready it prints one line of JSON with its
connection string; it runs until it is interrupted.

Usage: iothub-emulator [OPTIONS]
       iothub-emulator export --data-dir DIR [FILE]   writes a hub, with its keys
       iothub-emulator import --data-dir DIR [FILE]   makes DIR of what was written

Options:
  --config FILE      options in TOML, which the ones below override
  --host NAME        what the hub is called, and clients resolve [localhost]
  --bind ADDRESS     where it listens [127.0.0.1]
  --allow-remote     lets ADDRESS be one that other machines reach
  --https-port PORT  HTTPS and WebSockets; 0 takes any free port [443]
  --amqps-port PORT  AMQP over TLS; 0 takes any free port [5671]
  --mqtts-port PORT  MQTT over TLS; 0 takes any free port [8883]
  --free-ports       takes any free port for those that are not named
  --device-authority FILE
                     certificates in PEM of an authority that devices may have
                     theirs from; may be repeated
  --partitions N     of the built-in endpoint, where services read what devices
                     send [4]
  --consumer-group NAME
                     besides $Default; may be repeated
  --entra-port PORT  the token endpoint; 0 takes any free port [0]
  --identity-port PORT
                     managed identities, in plain HTTP; 0 takes any free port [0]
  --management-port PORT
                     the management API; 0 takes any free port [0]
  --data-dir DIR     where the hub lives on: its state, root certificate and
                     keys [a new directory, removed at the end]
  --ephemeral        keeps the state in memory even if there is a --data-dir
  --seed FILE        an export that a new hub starts from
  --device ID        makes this device if need be, and prints its connection
                     string, too
  --simulate N       connects N built-in devices that send telemetry, answer
                     methods and follow desired properties
  --log LEVEL        off, error, warn, info, debug or trace, to stderr [info]
  --help             this text
";
