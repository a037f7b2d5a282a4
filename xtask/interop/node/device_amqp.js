// azure-iot-device over AMQP and over AMQP in WebSockets, with azure-iothub as the service.
'use strict';

const assert = require('assert');
const { Client, Registry } = require('azure-iothub');
const { Message, NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { ready, newId, selfSigned, check, finish } = require('./hub');

const transports = { amqp: Amqp, 'amqp-ws': AmqpWs };
const registry = Registry.fromConnectionString(ready.connectionString);
const service = Client.fromConnectionString(ready.connectionString);

const connectionString = ({ deviceId, moduleId, authentication }) =>
  `HostName=${ready.host};DeviceId=${deviceId}${moduleId ? `;ModuleId=${moduleId}` : ''}` +
  `;SharedAccessKey=${authentication.symmetricKey.primaryKey}`;

// The service's receiver of feedback, of which a client has one.
const receiver = (which) =>
  new Promise((resolve, reject) => service[which]((error, found) => (error ? reject(error) : resolve(found))));

// A device that is new, connected as the transport does it.
async function connected(transport) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const client = device.Client.fromConnectionString(connectionString(identity), transport);
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
async function messages(transport) {
  const { deviceId, client } = await connected(transport);
  const feedback = await receiver('getFeedbackReceiver');
  const records = new Map();
  const reported = new Promise((resolve, reject) => {
    feedback.on('errorReceived', reject);
    feedback.on('message', async (batch) => {
      for (const record of JSON.parse(batch.getData())) {
        if (record.deviceId === deviceId) records.set(record.originalMessageId, record.statusCode);
      }
      await feedback.complete(batch);
      if (records.size === 3) resolve();
    });
  });
  const seen = [];
  client.on('message', async (message) => {
    const text = message.getData().toString();
    seen.push(text);
    if (text === 'reject') await client.reject(message);
    else if (text === 'abandon' && seen.filter((one) => one === text).length === 1) await client.abandon(message);
    else await client.complete(message);
  });
  for (const text of ['complete', 'reject', 'abandon']) {
    const message = new Message(text);
    message.messageId = text;
    message.ack = 'full';
    message.properties.add('reason', 'test');
    await service.send(deviceId, message);
  }
  await reported;
  feedback.removeAllListeners();
  assert.deepStrictEqual(Object.fromEntries(records), { complete: 'Success', reject: 'Rejected', abandon: 'Success' });
  assert.deepStrictEqual(seen.sort(), ['abandon', 'abandon', 'complete', 'reject']);
  await client.close();
}

async function methods(transport) {
  const { deviceId, client } = await connected(transport);
  client.onDeviceMethod('blink', (request, response) => {
    response.send(207, { ran: request.methodName, with: request.payload }, () => {});
  });
  const call = { methodName: 'blink', payload: { times: 3 }, responseTimeoutInSeconds: 30, connectTimeoutInSeconds: 15 };
  for (let count = 0; count < 3; count += 1) {
    const { result } = await service.invokeDeviceMethod(deviceId, call);
    assert.deepStrictEqual(result, { status: 207, payload: { ran: 'blink', with: { times: 3 } } });
  }
  await client.close();
  await assert.rejects(service.invokeDeviceMethod(deviceId, { ...call, connectTimeoutInSeconds: 0 }));
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

  // The first event is the state as it was; that the subscription stands shows when a later one comes.
  const changes = [];
  const changed = new Promise((resolve) => {
    twin.on('properties.desired', (delta) => {
      changes.push(delta);
      if (delta.level) resolve();
    });
  });
  let level = 0;
  const timer = setInterval(() => {
    level += 1;
    registry.updateTwin(deviceId, { properties: { desired: { level } } }, '*').catch(() => {});
  }, 200);
  await changed;
  clearInterval(timer);
  assert.ok(changes.at(-1).$version > 1, JSON.stringify(changes));
  await client.close();
}

async function modules(transport) {
  const { deviceId } = (await registry.create({ deviceId: newId('node') })).responseBody;
  const { responseBody: identity } = await registry.addModule({ deviceId, moduleId: 'bulb' });
  const client = device.ModuleClient.fromConnectionString(connectionString(identity), transport);
  await client.open();
  await client.sendEvent(new Message('on'));
  client.onMethod('blink', (request, response) => response.send(200, request.payload, () => {}));
  const call = { methodName: 'blink', payload: [1.5], responseTimeoutInSeconds: 30, connectTimeoutInSeconds: 15 };
  const { result } = await service.invokeDeviceMethod(deviceId, 'bulb', call);
  assert.deepStrictEqual(result, { status: 200, payload: [1.5] });
  const twin = await client.getTwin();
  await new Promise((resolve, reject) => {
    twin.properties.reported.update({ on: true }, (error) => (error ? reject(error) : resolve()));
  });
  const stored = (await registry.getModuleTwin(deviceId, 'bulb')).responseBody;
  assert.strictEqual(stored.properties.reported.on, true);
  await client.close();
}

async function certificates(transport) {
  const deviceId = newId('node');
  const { cert, key, thumbprint } = selfSigned(deviceId);
  const authentication = { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: thumbprint } };
  await registry.create({ deviceId, authentication });
  const client = device.Client.fromConnectionString(`HostName=${ready.host};DeviceId=${deviceId};x509=true`, transport);
  await client.setOptions({ cert, key });
  await client.open();
  await client.sendEvent(new Message('on'));
  // The SDK gives up its link with the last listener, so this one stays.
  const received = new Promise((resolve, reject) => {
    client.on('message', (message) => client.complete(message).then(() => resolve(message), reject));
  });
  await service.send(deviceId, new Message('off'));
  assert.strictEqual((await received).getData().toString(), 'off');
  await client.close();
}

async function refusals(transport) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const wrong = connectionString({
    ...identity,
    authentication: { symmetricKey: { primaryKey: Buffer.alloc(32, 7).toString('base64') } },
  });
  const client = device.Client.fromConnectionString(wrong, transport);
  client.setRetryPolicy(new NoRetry());
  await assert.rejects(client.open(), { name: 'UnauthorizedError' });
}

// A newer connection of the same device ends the older, which hears of it.
async function takeover(transport) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
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

const checks = {
  'sends telemetry': telemetry,
  'completes, rejects and abandons messages; the service hears of it': messages,
  'answers methods': methods,
  'reads its twin, reports, and watches desired properties': twins,
  'as a module: telemetry, methods and twin': modules,
  'signs in with a certificate': certificates,
  'with a wrong key is refused': refusals,
  'connected again takes over': takeover,
};

async function main() {
  await service.open();
  for (const [name, transport] of Object.entries(transports)) {
    for (const [what, body] of Object.entries(checks)) {
      await check(`device, ${name}: ${what}`, () => body(transport));
    }
  }
  finish();
}

main();
