// azure-iot-device over AMQP and over AMQP in WebSockets; the service is azure-iothub, and then this workspace's own.
'use strict';

const assert = require('assert');
const { once } = require('events');
const { setImmediate: nextTurn } = require('timers/promises');
const { promisify } = require('util');
const { Message, NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { newId, check, finish } = require('./hub');
const { registry, connectionString, newDevice, newModule, newCertifiedDevice, withWrongKey } = require('./device');
const management = require('./management');
const { withEach } = require('./services');

const transports = { amqp: Amqp, 'amqp-ws': AmqpWs };

// A device that is new, connected as the transport does it.
async function connected(transport) {
  const identity = await newDevice();
  const client = device.Client.fromConnectionString(connectionString(identity), transport);
  // Of use over HTTPS only, and taken here, too.
  await client.setTransportOptions({ interval: 1 });
  await client.open();
  return { deviceId: identity.deviceId, client };
}

async function telemetry(transport) {
  const { deviceId, client } = await connected(transport);
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = newId('message');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('level', 'high');
  await client.sendEvent(message);
  const { responseBody: identity } = await registry.get(deviceId);
  assert.strictEqual(identity.connectionState, 'Connected');
  await client.close();
}

// Sends messages of which the device completes, rejects and at first abandons one, and awaits what the hub says of them.
async function messages(transport, service) {
  const { deviceId, client } = await connected(transport);
  const seen = [];
  const settle = (message) => {
    const text = message.getData().toString();
    seen.push(text);
    if (text === 'reject') return client.reject(message);
    if (text === 'abandon' && seen.filter((one) => one === text).length === 1) return client.abandon(message);
    return client.complete(message);
  };
  // One after the other: of what is settled in one go, rhea makes one disposition, whatever the outcomes.
  let settled = Promise.resolve();
  client.on('message', (message) => {
    settled = settled.then(() => settle(message)).then(() => nextTurn());
  });
  const send = (body) => service.send(deviceId, { messageId: newId(body), body, properties: { reason: 'test' } });
  const fates = await Promise.all(['complete', 'reject', 'abandon'].map(send));
  assert.deepStrictEqual(fates, ['Success', 'Rejected', 'Success']);
  assert.deepStrictEqual(seen.sort(), ['abandon', 'abandon', 'complete', 'reject']);
  await client.close();
}

// Answers the method `blink` with what it was asked.
const answer = (client, listen) =>
  client[listen]('blink', (request, response) => {
    response.send(207, { ran: request.methodName, with: request.payload }, () => {});
  });

async function methods(transport, service) {
  const { deviceId, client } = await connected(transport);
  answer(client, 'onDeviceMethod');
  for (const payload of [{ times: 3 }, 'text', 1.5, [1, null], null]) {
    const result = await service.invoke(deviceId, null, 'blink', payload);
    assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: payload } });
  }
  await client.close();
  await assert.rejects(service.invoke(deviceId, null, 'blink', 1, 0), service.notOnline);
}

async function twins(transport) {
  const { deviceId, client } = await connected(transport);
  const twin = await client.getTwin();
  assert.deepStrictEqual(Object.keys(twin.properties.desired), ['$version']);

  await new Promise((resolve, reject) => {
    twin.properties.reported.update({ on: true, gone: 1 }, (error) => (error ? reject(error) : resolve()));
  });
  await new Promise((resolve, reject) => {
    twin.properties.reported.update({ gone: null }, (error) => (error ? reject(error) : resolve()));
  });
  const stored = (await registry.getTwin(deviceId)).responseBody;
  assert.strictEqual(stored.properties.reported.on, true);
  assert.strictEqual(stored.properties.reported.gone, undefined);

  // The first event is the state as it was.
  const changes = [];
  const changed = new Promise((resolve) => {
    twin.on('properties.desired', (delta) => {
      changes.push(delta);
      if (delta.lamp) resolve();
    });
  });
  const level = once(twin, 'properties.desired.lamp.level');
  // Each listener asks for it as well; this is answered last.
  await promisify((done) => twin.enableTwinDesiredPropertiesUpdates(done))();
  await registry.updateTwin(deviceId, { properties: { desired: { lamp: { level: 3 } } } }, '*');
  await changed;
  assert.deepStrictEqual([changes.at(-1), await level], [{ lamp: { level: 3 }, $version: 2 }, [3]]);
  twin.setRetryPolicy(new NoRetry());
  await twin.get();
  assert.ok(twin.properties.desired.$version >= changes.at(-1).$version, JSON.stringify(twin.properties));
  await client.close();
}

async function modules(transport, service) {
  const identity = await newModule();
  const { deviceId } = identity;
  const client = device.ModuleClient.fromConnectionString(connectionString(identity), transport);
  client.setRetryPolicy(new NoRetry());
  await client.setOptions({ productInfo: 'interop' });
  await client.setTransportOptions({ interval: 1 });
  await client.open();
  await client.sendEvent(new Message('on'));
  await client.sendOutputEvent('lamps', new Message('on'));
  answer(client, 'onMethod');
  const result = await service.invoke(deviceId, 'bulb', 'blink', [1.5]);
  assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: [1.5] } });
  const twin = await client.getTwin();
  await new Promise((resolve, reject) => {
    twin.properties.reported.update({ on: true }, (error) => (error ? reject(error) : resolve()));
  });
  const stored = (await registry.getModuleTwin(deviceId, 'bulb')).responseBody;
  assert.strictEqual(stored.properties.reported.on, true);
  await client.close();
}

// A device that signs in with a certificate, and has sent something.
async function withCertificate(transport, type) {
  const { deviceId, cert, key, text } = await newCertifiedDevice(type);
  const client = device.Client.fromConnectionString(text, transport);
  await client.setOptions({ cert, key });
  const since = await management.now();
  await client.open();
  await client.sendEvent(new Message('on'));
  await management.events(since, 1, ({ type, source }) => type === 'telemetry' && source === deviceId);
  return { deviceId, client };
}

async function thumbprints(transport, service) {
  const { deviceId, client } = await withCertificate(transport, 'selfSigned');
  // The SDK gives up its link with the last listener, so this one stays.
  const received = new Promise((resolve, reject) => {
    client.on('message', (message) => client.complete(message).then(() => resolve(message), reject));
  });
  assert.strictEqual(await service.send(deviceId, { messageId: newId('off'), body: 'off' }), 'Success');
  assert.strictEqual((await received).getData().toString(), 'off');
  await client.close();
}

async function authorities(transport) {
  const { client } = await withCertificate(transport, 'certificateAuthority');
  await client.close();
}

async function refusals(transport) {
  const identity = await newDevice();
  const wrong = connectionString(withWrongKey(identity));
  const client = device.Client.fromConnectionString(wrong, transport);
  client.setRetryPolicy(new NoRetry());
  await assert.rejects(client.open(), { name: 'UnauthorizedError' });
}

// A newer connection of the same device ends the older, which hears of it.
async function takeover(transport) {
  const identity = await newDevice();
  const connect = async () => {
    const client = device.Client.fromConnectionString(connectionString(identity), transport);
    client.setRetryPolicy(new NoRetry());
    await client.open();
    await client.sendEvent(new Message('on'));
    return client;
  };
  const older = await connect();
  const ended = new Promise((resolve) => {
    older.on('error', resolve);
    older.on('disconnect', resolve);
  });
  const newer = await connect();
  await ended;
  await newer.sendEvent(new Message('off'));
  await newer.close();
}

const always = {
  'completes, rejects and abandons messages; the service hears of it': messages,
  'answers methods until it goes': methods,
  'as a module: telemetry, methods and twin': modules,
  'signs in with a certificate, by thumbprint': thumbprints,
};
const onceOnly = {
  'sends telemetry': telemetry,
  'reads its twin, reports, and watches desired properties': twins,
  'signs in with a certificate of an authority': authorities,
  'with a wrong key is refused': refusals,
  'connected again takes over': takeover,
};

async function main() {
  for (const [name, transport] of Object.entries(transports)) {
    for (const [what, body] of Object.entries(onceOnly)) {
      await check(`device, ${name}: ${what}`, () => body(transport));
    }
  }
  await withEach(async (who, service) => {
    for (const [name, transport] of Object.entries(transports)) {
      for (const [what, body] of Object.entries(always)) {
        await check(`device, ${name}, service ${who}: ${what}`, () => body(transport, service));
      }
    }
  });
  finish();
}

main();
