use std::collections::BTreeSet;

use azure_core::http::StatusCode;
use futures::{StreamExt, stream};
use iothub_core::{
    ModuleId, Result,
    testing::{HttpAnswer, ScriptedHttp},
};
use iothub_emulator::Operation;
use iothub_registry::{
    BulkOperation, RegistryClient, RegistryClientOptions,
    models::{Device, Module},
};

use crate::hub::Hub;

/// What a server makes of a path is what RFC 3986 says, read here once more.
#[tokio::test]
async fn a_hundred_thousand_ids_arrive_as_they_were_given() -> Result<()> {
    let mut ids = Ids(SEED);
    for _ in 0..100 {
        let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::NoContent, ""));
        let registry = scripted(&http)?;
        let pairs: Vec<(String, String)> = (0..500).map(|_| (ids.next(), ids.next())).collect();
        for (device, module) in &pairs {
            let id = ModuleId::new(device.parse()?, module)?;
            registry.delete_module(&id, None).await?;
        }
        for ((device, module), seen) in pairs.iter().zip(http.requests()) {
            assert_eq!(read(seen.url.as_str()), ["devices", device, "modules", module]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn ids_of_any_characters_name_one_device_in_paths_and_bodies() -> Result<()> {
    let hub = Hub::empty().await;
    let mut ids = Ids(SEED);
    let names: BTreeSet<String> = (0..300).map(|_| ids.next()).collect();
    let operations = names
        .iter()
        .map(|name| Ok(BulkOperation::create_device(Device::new(name.parse()?))))
        .collect::<Result<Vec<_>>>()?;
    let mut results = hub.registry.bulk(stream::iter(operations), None)?;
    while let Some(result) = results.next().await {
        result.outcome.into_result()?;
    }
    for name in &names {
        let read = hub.device(name).await?;
        assert_eq!(read.device_id, name.as_str());
        assert_eq!(hub.executed(Operation::Create, name), 1, "{name}");
        let id = ModuleId::new(read.device_id, &name.replace('$', "S"))?;
        hub.registry.create_module(&Module::new(id.clone()), None).await?;
        assert_eq!(hub.registry.get_module(&id, None).await?.into_model()?.id, id);
        hub.registry.delete_device(id.device(), None).await?;
        assert_eq!(hub.executed(Operation::Delete, name), 1, "{name}");
    }
    assert_eq!(
        hub.registry
            .get_statistics(None)
            .await?
            .into_model()?
            .total_device_count,
        0
    );
    Ok(())
}

/// Ids that a hub allows, from short to long, with many of the characters that mean something in a URL.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> String {
        loop {
            let length = match self.below(4) {
                0 => 1 + self.below(3),
                1 => 1 + self.below(128),
                _ => 1 + self.below(20),
            };
            let alphabet = match self.below(2) {
                0 => ALPHABET,
                _ => "%2Ff.?#+",
            };
            let characters: Vec<char> = alphabet.chars().collect();
            let id: String = (0..length).map(|_| characters[self.below(characters.len())]).collect();
            // These two are ids, and no URL can name them.
            if id != "." && id != ".." {
                return id;
            }
        }
    }

    /// The generator called splitmix64.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % limit as u64).unwrap()
    }
}

/// The segments of a URL's path, decoded. A text after `?` is the query, one after `#` would be a fragment.
fn read(url: &str) -> Vec<String> {
    assert!(!url.contains('#'), "{url} has a fragment");
    let (_, rest) = url.split_once("://hub.example/").unwrap();
    let (path, query) = rest.split_once('?').unwrap();
    assert_eq!(query, "api-version=2021-04-12");
    path.split('/').map(decode).collect()
}

fn decode(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let hex = std::str::from_utf8(&[*high, *low]).unwrap().to_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn scripted(http: &ScriptedHttp) -> Result<RegistryClient> {
    let key = "HostName=hub.example;SharedAccessKeyName=owner;SharedAccessKey=bm90LWEtcmVhbC1rZXk=";
    let options = RegistryClientOptions {
        client_options: http.client_options(),
        ..RegistryClientOptions::default()
    };
    RegistryClient::from_connection_string(key, Some(options))
}

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:.+%_#*?!(),=@;$'";
const SEED: u64 = 20_210_412;
