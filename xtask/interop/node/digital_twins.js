// azure-iothub's DigitalTwinClient, with azure-iot-device over MQTT as the Plug and Play device.
'use strict';

const assert = require('assert');
const { once } = require('events');
const { DigitalTwinClient, IoTHubTokenCredentials, Registry } = require('azure-iothub');
const device = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { ready, newId, refusedToGenerated, check, finish } = require('./hub');

const model = 'dtmi:com:example:TemperatureController;1';
const registry = Registry.fromConnectionString(ready.connectionString);
const twins = new DigitalTwinClient(new IoTHubTokenCredentials(ready.connectionString));

// Only what the hub says of a property, without times.
const known = ({ lastUpdateTime, ...rest }) => rest;

// A device that says which model it follows.
async function connected(transport) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const key = identity.authentication.symmetricKey.primaryKey;
  const text = `HostName=${ready.host};DeviceId=${identity.deviceId};SharedAccessKey=${key}`;
  const client = device.Client.fromConnectionString(text, transport);
  await client.setOptions({ modelId: model });
  await client.open();
  return { deviceId: identity.deviceId, client };
}

const report = (twin, patch) =>
  new Promise((resolve, reject) => twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve())));

async function properties(transport) {
  const { deviceId, client } = await connected(transport);
  const twin = await client.getTwin();
  await report(twin, { serialNumber: 'SR-123456', thermostat1: { __t: 'c', maxTempSinceLastReboot: 38.7 } });
  const before = await twins.getDigitalTwin(deviceId);
  assert.deepStrictEqual([before.$dtId, before.$metadata.$model, before.serialNumber], [deviceId, model, 'SR-123456']);

  const wanted = new Promise((resolve) =>
    twin.on('properties.desired', (delta) => {
      if (delta.thermostat1) resolve(delta);
    })
  );
  // The first event is the state as it was. Once the twin is read after that, the subscription stands.
  await once(twin, 'properties.desired');
  await client.getTwin();
  const etag = before._response.headers.get('etag');
  const patch = [{ op: 'add', path: '/thermostat1/targetTemperature', value: 21.5 }];
  await twins.updateDigitalTwin(deviceId, patch, etag);
  const delta = await wanted;
  assert.deepStrictEqual(delta.thermostat1, { __t: 'c', targetTemperature: 21.5 });
  await refusedToGenerated(twins.updateDigitalTwin(deviceId, patch, etag), 412, 'PreconditionFailed');

  const answer = { value: 21.5, ac: 200, av: delta.$version, ad: 'reached' };
  await report(twin, { thermostat1: { __t: 'c', targetTemperature: answer } });
  const { thermostat1 } = await twins.getDigitalTwin(deviceId);
  assert.deepStrictEqual([thermostat1.targetTemperature, thermostat1.maxTempSinceLastReboot], [21.5, 38.7]);
  assert.deepStrictEqual(known(thermostat1.$metadata.targetTemperature), {
    desiredValue: 21.5,
    desiredVersion: delta.$version,
    ackVersion: delta.$version,
    ackCode: 200,
    ackDescription: 'reached',
  });
  await client.close();
}

async function commands(transport) {
  const { deviceId, client } = await connected(transport);
  client.onDeviceMethod('reboot', (request, response) => response.send(202));
  client.onDeviceMethod('thermostat1*getMaxMinReport', (request, response) =>
    response.send(200, { since: request.payload, maxTemp: 38.7 })
  );
  // The subscription is under way; the hub waits for it.
  const patience = { connectTimeoutInSeconds: 20, responseTimeoutInSeconds: 30 };
  const since = '2026-01-01T00:00:00.000Z';
  const answer = await twins.invokeComponentCommand(deviceId, 'thermostat1', 'getMaxMinReport', since, patience);
  assert.deepStrictEqual(answer._response.parsedBody, { since, maxTemp: 38.7 });
  assert.strictEqual(Number(answer.xMsCommandStatuscode), 200);
  assert.ok(answer.xMsRequestId);
  const reboot = await twins.invokeCommand(deviceId, 'reboot', 3, patience);
  assert.strictEqual(Number(reboot.xMsCommandStatuscode), 202);
  await client.close();
  await refusedToGenerated(twins.invokeCommand(deviceId, 'reboot', 3), 404, 'DeviceNotOnline');
}

async function strangers() {
  const patch = [{ op: 'add', path: '/level', value: 1 }];
  await refusedToGenerated(twins.getDigitalTwin(newId('ghost')), 404, 'DeviceNotFound');
  await refusedToGenerated(twins.updateDigitalTwin(newId('ghost'), patch), 404, 'DeviceNotFound');
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const deep = [{ op: 'add', path: '/a/b/c', value: 1 }];
  await refusedToGenerated(twins.updateDigitalTwin(identity.deviceId, deep), 400, 'InvalidDigitalTwinPatchPath');
}

async function main() {
  for (const [name, transport] of Object.entries({ mqtt: Mqtt, 'mqtt-ws': MqttWs })) {
    await check(`digital twin of a device over ${name}`, () => properties(transport));
    await check(`commands to a device over ${name}`, () => commands(transport));
  }
  await check('digital twins of strangers', strangers);
  finish();
}

main();
