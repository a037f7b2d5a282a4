// azure-iot-device over MQTT and over MQTT in WebSockets; the service is azure-iothub, and then this workspace's own.
'use strict';

const assert = require('assert');
const { once } = require('events');
const { promisify } = require('util');
const { Message, NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { newId, check, finish } = require('./hub');
const { registry, connectionString, newDevice, newModule, newCertifiedDevice, withWrongKey } = require('./device');
const { withEach } = require('./services');

const transports = { mqtt: Mqtt, 'mqtt-ws': MqttWs };

// A device that is new, and connected.
async function connected(transport, options = {}) {
  const identity = await newDevice();
  const lamp = device.Client.fromConnectionString(connectionString(identity), transport);
  await lamp.setOptions(options);
  // Of use over HTTPS only, and taken here, too.
  await lamp.setTransportOptions({ interval: 1 });
  await lamp.open();
  return { identity, deviceId: identity.deviceId, lamp };
}

const report = (twin, patch) =>
  new Promise((resolve, reject) => {
    twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
  });

async function telemetry(transport) {
  const { deviceId, lamp } = await connected(transport);
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = newId('message');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('level', 'high & low = ☕');
  await lamp.sendEvent(message);
  assert.strictEqual((await registry.get(deviceId)).responseBody.connectionState, 'Connected');
  await lamp.close();
  assert.strictEqual((await registry.get(deviceId)).responseBody.connectionState, 'Disconnected');
}

async function messages(transport, service) {
  const { deviceId, lamp } = await connected(transport);
  const received = [];
  lamp.on('message', async (message) => {
    received.push(message);
    await lamp.complete(message);
  });
  const messageId = newId('a/b&c');
  const fate = await service.send(deviceId, { messageId, body: 'on', properties: { reason: 'a & b = ☕/1' } });
  assert.strictEqual(fate, 'Success');
  assert.strictEqual(received.length, 1);
  const [message] = received;
  assert.deepStrictEqual([message.getData().toString(), message.messageId], ['on', messageId]);
  // The SDK counts what it does not know, `iothub-ack` here, among the properties.
  const own = message.properties.propertyList.filter(({ key }) => key !== 'iothub-ack');
  assert.deepStrictEqual(own, [{ key: 'reason', value: 'a & b = ☕/1' }]);
  await lamp.close();
}

// Answers the method `blink` with what it was asked.
const answer = (lamp, listen) =>
  lamp[listen]('blink', (request, response) => {
    response.send(207, { ran: request.methodName, with: request.payload }, () => {});
  });

async function methods(transport, service) {
  const { deviceId, lamp } = await connected(transport);
  answer(lamp, 'onDeviceMethod');
  for (const payload of [{ times: 3 }, 'text', 1.5, [1, null], null]) {
    const result = await service.invoke(deviceId, null, 'blink', payload);
    assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: payload } });
  }
  await lamp.close();
}

async function twins(transport) {
  const { deviceId, lamp } = await connected(transport);
  const twin = await lamp.getTwin();
  assert.deepStrictEqual(twin.properties.desired.$version, 1);
  await report(twin, { on: true, gone: 1 });
  await report(twin, { gone: null, level: { now: 3 } });
  const { reported } = (await registry.getTwin(deviceId)).responseBody.properties;
  assert.deepStrictEqual([reported.on, reported.level.now, reported.gone], [true, 3, undefined]);
  // The first event is the state as it was.
  const changes = [];
  const changed = new Promise((resolve) => {
    twin.on('properties.desired', (delta) => {
      changes.push(delta);
      if (delta.colour) resolve();
    });
  });
  await once(twin, 'properties.desired');
  twin.setRetryPolicy(new NoRetry());
  await twin.get();
  const level = once(twin, 'properties.desired.lamp.level');
  // Each listener asks for it as well; this is answered last.
  await promisify((done) => twin.enableTwinDesiredPropertiesUpdates(done))();
  const desired = { colour: 'red', lamp: { level: 3 } };
  await registry.updateTwin(deviceId, { properties: { desired } }, '*');
  await changed;
  assert.deepStrictEqual([changes.at(-1), await level], [{ ...desired, $version: 2 }, [3]]);
  await twin.get();
  assert.deepStrictEqual(twin.properties.desired, { ...desired, $version: 2 });
  await lamp.close();
}

async function modules(transport, service) {
  const identity = await newModule();
  const { deviceId } = identity;
  const bulb = device.ModuleClient.fromConnectionString(connectionString(identity), transport);
  bulb.setRetryPolicy(new NoRetry());
  await bulb.setOptions({ productInfo: 'interop' });
  await bulb.setTransportOptions({ interval: 1 });
  await bulb.open();
  await bulb.sendEvent(new Message('on'));
  await bulb.sendOutputEvent('lamps', new Message('on'));
  answer(bulb, 'onMethod');
  const result = await service.invoke(deviceId, 'bulb', 'blink', [1.5]);
  assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: [1.5] } });
  await report(await bulb.getTwin(), { on: true });
  const { reported } = (await registry.getModuleTwin(deviceId, 'bulb')).responseBody.properties;
  assert.strictEqual(reported.on, true);
  await bulb.close();
}

async function models(transport) {
  const modelId = 'dtmi:com:example:Lamp;1';
  const { deviceId, lamp } = await connected(transport, { modelId });
  assert.strictEqual((await registry.getTwin(deviceId)).responseBody.modelId, modelId);
  await lamp.close();
}

// A device that signs in with a certificate answers a method, too.
async function withCertificate(transport, service, type) {
  const { deviceId, cert, key, text } = await newCertifiedDevice(type);
  const lamp = device.Client.fromConnectionString(text, transport);
  await lamp.setOptions({ cert, key });
  await lamp.open();
  await lamp.sendEvent(new Message('on'));
  answer(lamp, 'onDeviceMethod');
  const result = await service.invoke(deviceId, null, 'blink', 1);
  assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: 1 } });
  await lamp.close();
}

const thumbprints = (transport, service) => withCertificate(transport, service, 'selfSigned');
const authorities = (transport, service) => withCertificate(transport, service, 'certificateAuthority');

async function refusals(transport) {
  const identity = await newDevice();
  const wrong = connectionString(withWrongKey(identity));
  const lamp = device.Client.fromConnectionString(wrong, transport);
  lamp.setRetryPolicy(new NoRetry());
  await assert.rejects(lamp.open(), { name: 'UnauthorizedError' });
}

async function absence(transport, service) {
  const { deviceId, lamp } = await connected(transport);
  answer(lamp, 'onDeviceMethod');
  await lamp.close();
  await assert.rejects(service.invoke(deviceId, null, 'blink', 1, 0), service.notOnline);
}

const always = {
  'receives messages and completes them; the service hears of it': messages,
  'answers methods': methods,
  'as a module: telemetry, methods and twin': modules,
  'signs in with a certificate, by thumbprint': thumbprints,
  'signs in with a certificate of an authority': authorities,
  'that has gone answers no methods': absence,
};
const onceOnly = {
  'sends telemetry': telemetry,
  'reads its twin, reports, and watches desired properties': twins,
  'names its model': models,
  'with a wrong key is refused': refusals,
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
