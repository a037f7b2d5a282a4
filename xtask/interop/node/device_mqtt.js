// azure-iot-device over MQTT and over MQTT in WebSockets; the service is azure-iothub, and then this workspace's own.
'use strict';

const assert = require('assert');
const { once } = require('events');
const { Client, Registry } = require('azure-iothub');
const { Message, NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { ready, newId, selfSigned, signed, check, finish } = require('./hub');
const { Peer } = require('./peer');

const transports = { mqtt: Mqtt, 'mqtt-ws': MqttWs };
const registry = Registry.fromConnectionString(ready.connectionString);
const client = Client.fromConnectionString(ready.connectionString);
const peer = new Peer();

// Each sends a message and resolves with what the hub says became of it, and invokes a method.
const services = {
  'azure-iothub': {
    async send(deviceId, { messageId, body, properties }) {
      const message = new Message(body);
      Object.assign(message, { messageId, ack: 'full' });
      for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);
      const fate = fateOf(messageId);
      await client.send(deviceId, message);
      return fate;
    },
    async invoke(deviceId, moduleId, methodName, payload) {
      const call = { methodName, payload, responseTimeoutInSeconds: 30, connectTimeoutInSeconds: 15 };
      const answer = moduleId
        ? await client.invokeDeviceMethod(deviceId, moduleId, call)
        : await client.invokeDeviceMethod(deviceId, call);
      return answer.result;
    },
  },
  iothub: {
    async send(deviceId, message) {
      await peer.call('send', { to: deviceId, ack: 'full', ...message });
      return peer.call('feedback', { messageId: message.messageId });
    },
    invoke(deviceId, moduleId, method, payload) {
      const to = moduleId ? `${deviceId}/${moduleId}` : deviceId;
      return peer.call('invoke', { to, method, payload, connectTimeout: 15 });
    },
  },
};

// What the SDK's receiver of feedback, of which a client has one, hears of a message.
async function fateOf(messageId) {
  const feedback = await new Promise((resolve, reject) => {
    client.getFeedbackReceiver((error, found) => (error ? reject(error) : resolve(found)));
  });
  return new Promise((resolve, reject) => {
    feedback.on('errorReceived', reject);
    feedback.on('message', async function take(batch) {
      await feedback.complete(batch);
      const record = JSON.parse(batch.getData()).find((one) => one.originalMessageId === messageId);
      if (!record) return;
      feedback.removeListener('message', take);
      resolve(record.statusCode);
    });
  });
}

const connectionString = ({ deviceId, moduleId, authentication }) =>
  `HostName=${ready.host};DeviceId=${deviceId}${moduleId ? `;ModuleId=${moduleId}` : ''}` +
  `;SharedAccessKey=${authentication.symmetricKey.primaryKey}`;

// A device that is new, and connected.
async function connected(transport, options = {}) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const lamp = device.Client.fromConnectionString(connectionString(identity), transport);
  await lamp.setOptions(options);
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
  // The first event is the state as it was, and comes when the subscription stands.
  const changes = [];
  const changed = new Promise((resolve) => {
    twin.on('properties.desired', (delta) => {
      changes.push(delta);
      if (delta.colour) resolve();
    });
  });
  await once(twin, 'properties.desired');
  await lamp.getTwin();
  await registry.updateTwin(deviceId, { properties: { desired: { colour: 'red' } } }, '*');
  await changed;
  assert.deepStrictEqual(changes.at(-1), { colour: 'red', $version: 2 });
  await lamp.close();
}

async function modules(transport, service) {
  const { deviceId } = (await registry.create({ deviceId: newId('node') })).responseBody;
  const { responseBody: identity } = await registry.addModule({ deviceId, moduleId: 'bulb' });
  const bulb = device.ModuleClient.fromConnectionString(connectionString(identity), transport);
  await bulb.open();
  await bulb.sendEvent(new Message('on'));
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

async function tokens(transport) {
  const { identity } = await connected(transport).then(async (one) => {
    await one.lamp.close();
    return one;
  });
  const { deviceId, authentication } = identity;
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const token = device.SharedAccessSignature.create(ready.host, deviceId, authentication.symmetricKey.primaryKey, expiry);
  const lamp = device.Client.fromSharedAccessSignature(token.toString(), transport);
  await lamp.open();
  await lamp.sendEvent(new Message('on'));
  await lamp.close();
}

// A device that signs in with a certificate answers a method, too.
async function withCertificate(transport, service, authentication, make) {
  const deviceId = newId('node');
  const { cert, key, thumbprint } = make(deviceId);
  await registry.create({ deviceId, authentication: authentication(thumbprint) });
  const text = `HostName=${ready.host};DeviceId=${deviceId};x509=true`;
  const lamp = device.Client.fromConnectionString(text, transport);
  await lamp.setOptions({ cert, key });
  await lamp.open();
  await lamp.sendEvent(new Message('on'));
  answer(lamp, 'onDeviceMethod');
  const result = await service.invoke(deviceId, null, 'blink', 1);
  assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: 1 } });
  await lamp.close();
}

const thumbprints = (transport, service) => {
  const authentication = (primaryThumbprint) => ({ type: 'selfSigned', x509Thumbprint: { primaryThumbprint } });
  return withCertificate(transport, service, authentication, selfSigned);
};

const authorities = (transport, service) =>
  withCertificate(transport, service, () => ({ type: 'certificateAuthority' }), signed);

async function refusals(transport) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const primaryKey = Buffer.alloc(32, 7).toString('base64');
  const wrong = connectionString({ ...identity, authentication: { symmetricKey: { primaryKey } } });
  const lamp = device.Client.fromConnectionString(wrong, transport);
  lamp.setRetryPolicy(new NoRetry());
  await assert.rejects(lamp.open(), { name: 'UnauthorizedError' });
}

async function absence(transport) {
  const { deviceId, lamp } = await connected(transport);
  answer(lamp, 'onDeviceMethod');
  await lamp.close();
  await assert.rejects(peer.call('invoke', { to: deviceId, method: 'blink' }), { code: 'DeviceNotOnline' });
}

const always = {
  'receives messages and completes them; the service hears of it': messages,
  'answers methods': methods,
  'as a module: telemetry, methods and twin': modules,
  'signs in with a certificate, by thumbprint': thumbprints,
  'signs in with a certificate of an authority': authorities,
};
const onceOnly = {
  'sends telemetry': telemetry,
  'reads its twin, reports, and watches desired properties': twins,
  'names its model': models,
  'signs in with a token': tokens,
  'with a wrong key is refused': refusals,
  'that has gone answers no methods': absence,
};

async function main() {
  for (const [name, transport] of Object.entries(transports)) {
    for (const [what, body] of Object.entries(onceOnly)) {
      await check(`device, ${name}: ${what}`, () => body(transport));
    }
  }
  await client.open();
  for (const [who, service] of Object.entries(services)) {
    for (const [name, transport] of Object.entries(transports)) {
      for (const [what, body] of Object.entries(always)) {
        await check(`device, ${name}, service ${who}: ${what}`, () => body(transport, service));
      }
    }
    // The hub gives feedback to one of those who wait for it, so that the next service waits alone.
    if (who === 'azure-iothub') await client.close();
  }
  peer.close();
  finish();
}

main();
