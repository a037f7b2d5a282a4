// azure-iot-device signs in with tokens, of its own making and of others', and goes on with newer ones; where its modules are
// debugged, they find in the environment how.
'use strict';

const assert = require('assert');
const { promisify } = require('util');
const { Message, NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Http } = require('azure-iot-device-http');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { ready, check, finish } = require('./hub');
const management = require('./management');
const { registry, connectionString, newDevice, newModule, newCertifiedDevice, token, withWrongKey } = require('./device');

const transports = { http: Http, amqp: Amqp, 'amqp-ws': AmqpWs, mqtt: Mqtt, 'mqtt-ws': MqttWs };

async function renewal(kind, make, transport) {
  const identity = await make();
  const client = kind.fromSharedAccessSignature(token(identity), transport);
  client.setRetryPolicy(new NoRetry());
  // What fails is told here, too.
  client.on('error', () => {});
  const renew = promisify((signature, done) => client.updateSharedAccessSignature(signature, done));
  await client.open();
  await client.sendEvent(new Message('on'));
  await renew(token(identity, 7200));
  await client.sendEvent(new Message('on'));
  // For a token that is refused on a connection that stands, the SDK says so late over AMQP, and never over MQTT.
  if (transport !== Http) return client.close();
  const goOn = async () => {
    await renew(token(withWrongKey(identity)));
    await client.sendEvent(new Message('on'));
  };
  await assert.rejects(goOn(), { name: 'UnauthorizedError' });
  return client.close();
}

async function provider(kind, make, transport) {
  const identity = await make();
  const connect = (text) => {
    const signer = device.SharedAccessKeyAuthenticationProvider.fromConnectionString(text, 600, 60);
    const client = kind.fromAuthenticationProvider(signer, transport);
    client.setRetryPolicy(new NoRetry());
    return client;
  };
  const client = connect(connectionString(identity));
  await client.open();
  await client.sendEvent(new Message('on'));
  await client.close();
  const stranger = connect(connectionString(withWrongKey(identity)));
  await assert.rejects(stranger.open().then(() => stranger.sendEvent(new Message('on'))), { name: 'UnauthorizedError' });
}

// Waits until the hub has taken two tokens of a device or module since then, and two messages.
async function twice(since, { deviceId, moduleId }) {
  const name = moduleId ? `${deviceId}/${moduleId}` : deviceId;
  await management.events(since, 2, ({ type, principal }) => type === 'authorized' && principal === `device ${name}`);
  await management.events(since, 2, ({ type, source }) => type === 'telemetry' && source === name);
}

// Tokens that somebody else makes, and hands to a provider.
async function signatureProvider(kind, make, transport) {
  const identity = await make();
  const provider = device.SharedAccessSignatureAuthenticationProvider.fromSharedAccessSignature(token(identity));
  const client = kind.fromAuthenticationProvider(provider, transport);
  const since = await management.now();
  await client.open();
  await client.sendEvent(new Message('on'));
  provider.updateSharedAccessSignature(token(identity, 7200));
  await client.sendEvent(new Message('off'));
  await twice(since, identity);
  await client.close();
}

// Tokens that live for four seconds, of which a new one is made after two.
async function shortTokens(kind, make, transport) {
  const identity = await make();
  const provider = device.SharedAccessKeyAuthenticationProvider.fromConnectionString(connectionString(identity), 4, 2);
  const client = kind.fromAuthenticationProvider(provider, transport);
  const since = await management.now();
  await client.open();
  await client.sendEvent(new Message('on'));
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await client.sendEvent(new Message('off'));
  await twice(since, identity);
  await client.close();
  provider.stop();
}

async function certificateProvider(transport) {
  const { deviceId, cert, key } = await newCertifiedDevice('selfSigned');
  const provider = device.X509AuthenticationProvider.fromX509Options(deviceId, ready.host, { cert, key });
  const client = device.Client.fromAuthenticationProvider(provider, transport);
  const since = await management.now();
  await client.open();
  await client.sendEvent(new Message('on'));
  await management.events(since, 1, ({ type, source }) => type === 'telemetry' && source === deviceId);
  await client.close();
}

async function environment(transport) {
  const identity = await newModule();
  process.env.EdgeHubConnectionString = `${connectionString(identity)};GatewayHostName=${ready.host}`;
  process.env.EdgeModuleCACertificateFile = ready.caFile;
  const client = await device.ModuleClient.fromEnvironment(transport);
  await client.open();
  await client.sendEvent(new Message('on'));
  const { responseBody: seen } = await registry.getModule(identity.deviceId, identity.moduleId);
  assert.strictEqual(seen.connectionState, 'Connected');
  await client.close();
}

async function main() {
  for (const [name, transport] of Object.entries(transports)) {
    for (const [who, kind, make] of [['device', device.Client, newDevice], ['module', device.ModuleClient, newModule]]) {
      // The SDK has no modules over HTTPS.
      if (kind === device.ModuleClient && transport === Http) continue;
      await check(`${who}, ${name}: goes on with a newer token`, () => renewal(kind, make, transport));
      await check(`${who}, ${name}: makes tokens with a provider`, () => provider(kind, make, transport));
      await check(`${who}, ${name}: is given tokens by a provider`, () => signatureProvider(kind, make, transport));
      await check(`${who}, ${name}: outlives its tokens`, () => shortTokens(kind, make, transport));
    }
    await check(`device, ${name}: has a certificate from a provider`, () => certificateProvider(transport));
    if (transport !== Http) await check(`module, ${name}: made from the environment`, () => environment(transport));
  }
  finish();
}

main();
