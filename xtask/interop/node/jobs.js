// azure-iothub's JobClient schedules twin updates and methods, watches, cancels and lists them; azure-iot-device over MQTT
// answers.
'use strict';

const assert = require('assert');
const { setTimeout: pause } = require('timers/promises');
const { Client, JobClient } = require('azure-iothub');
const device = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ready, entra, registries, newId, refused, check, finish } = require('./hub');
const { connectionString, newDevice } = require('./device');

const clients = {
  sas: () => JobClient.fromConnectionString(ready.connectionString),
  entra: () => JobClient.fromTokenCredential(ready.host, entra()),
};

const service = Client.fromConnectionString(ready.connectionString);

const hall = newId('hall');
const lamps = ['a', 'b', 'c'].map((name) => `${hall}-${name}`);
const tomorrow = () => new Date(Date.now() + 24 * 3600 * 1000);

const job = async (call) => (await call).jobStatus;

// Looks at a job until it has ended.
async function end(client, id) {
  for (;;) {
    const seen = await job(client.getJob(id));
    if (!['queued', 'scheduled', 'running'].includes(seen.status)) return seen;
    await pause(50);
  }
}

const statistics = (deviceCount, succeededCount, failedCount) => ({
  deviceCount,
  failedCount,
  succeededCount,
  runningCount: 0,
  pendingCount: 0,
});

async function twinUpdate(client, registry) {
  const id = newId('job');
  const patch = { etag: '*', tags: { seen: id }, properties: { desired: { interval: 60 } } };
  const begun = await job(client.scheduleTwinUpdate(id, `tags.hall = '${hall}'`, patch, new Date(), 300));
  assert.deepStrictEqual([begun.jobId, begun.type, begun.status], [id, 'scheduleUpdateTwin', 'queued']);
  const done = await end(client, id);
  assert.strictEqual(done.status, 'completed');
  assert.deepStrictEqual(done.deviceJobStatistics, statistics(3, 3, 0));
  assert.strictEqual(done.maxExecutionTimeInSeconds, 300);
  for (const lamp of lamps) {
    const { responseBody: twin } = await registry.getTwin(lamp);
    assert.deepStrictEqual([twin.tags.seen, twin.properties.desired.interval], [id, 60]);
  }
}

// What a job did with each device.
async function rows(registry, condition) {
  const { result, message } = await registry.createQuery(`SELECT * FROM devices.jobs WHERE ${condition}`, 10).next();
  assert.strictEqual(message.headers['x-ms-item-type'], 'DeviceJob');
  return result;
}

// Nobody is connected: the job completes, each device fails, and a query says why.
async function method(client, registry) {
  const id = newId('job');
  const blink = { methodName: 'blink', payload: { times: 2 }, responseTimeoutInSeconds: 30 };
  const condition = `deviceId IN ['${lamps[0]}', '${lamps[1]}']`;
  const begun = await job(client.scheduleDeviceMethod(id, condition, blink));
  assert.deepStrictEqual([begun.jobId, begun.type], [id, 'scheduleDeviceMethod']);
  const done = await end(client, id);
  assert.deepStrictEqual([done.status, done.deviceJobStatistics], ['completed', statistics(2, 0, 2)]);
  const result = await rows(registry, `devices.jobs.jobId = '${id}'`);
  const found = result.map((row) => [row.deviceId, row.jobType, row.status, row.error.code]);
  assert.deepStrictEqual(found, [0, 1].map((at) => [lamps[at], 'scheduleDeviceMethod', 'failed', 'DeviceNotOnline']));
}

// A device and its module that are there answer, and a query says what.
async function answered(client, registry) {
  const identity = await newDevice();
  const { deviceId } = identity;
  const { responseBody: module } = await registry.addModule({ deviceId, moduleId: 'bulb' });
  const lamp = device.Client.fromConnectionString(connectionString(identity), Mqtt);
  const bulb = device.ModuleClient.fromConnectionString(connectionString(module), Mqtt);
  await lamp.open();
  await bulb.open();
  const answer = (request, response) => response.send(207, { ran: request.methodName, with: request.payload }, () => {});
  lamp.onDeviceMethod('blink', answer);
  bulb.onMethod('blink', answer);

  // The subscriptions are under way. A job of this SDK cannot wait for them, but who invokes a method can.
  const blink = { methodName: 'blink', payload: { times: 2 }, responseTimeoutInSeconds: 30 };
  const patient = { ...blink, connectTimeoutInSeconds: 15 };
  await service.invokeDeviceMethod(deviceId, patient);
  await service.invokeDeviceMethod(deviceId, 'bulb', patient);
  const outcome = { deviceMethodResponse: { status: 207, payload: { ran: 'blink', with: { times: 2 } } } };
  for (const [condition, moduleId] of [
    [`deviceId = '${deviceId}'`, undefined],
    [`FROM devices.modules WHERE deviceId = '${deviceId}' AND moduleId = 'bulb'`, 'bulb'],
  ]) {
    const id = newId('job');
    await client.scheduleDeviceMethod(id, condition, blink);
    const done = await end(client, id);
    assert.deepStrictEqual([done.status, done.deviceJobStatistics], ['completed', statistics(1, 1, 0)]);
    const result = await rows(registry, `jobId = '${id}' AND outcome.deviceMethodResponse.status = 207`);
    const found = result.map((row) => [row.deviceId, row.moduleId, row.status, row.outcome]);
    assert.deepStrictEqual(found, [[deviceId, moduleId, 'completed', outcome]]);
  }
  await lamp.close();
  await bulb.close();
}

async function cancel(client) {
  const id = newId('job');
  await client.scheduleTwinUpdate(id, '*', { tags: { never: true } }, tomorrow(), 60);
  const cancelled = await job(client.cancelJob(id));
  assert.strictEqual(cancelled.status, 'cancelled');
  assert.strictEqual((await end(client, id)).status, 'cancelled');
  await refused(client.cancelJob(id), 'Error', 405, 'OperationNotAllowedInCurrentState');
}

// Page by page, by type and status.
async function list(client) {
  const waiting = [newId('job'), newId('job'), newId('job')];
  for (const id of waiting) await client.scheduleTwinUpdate(id, '*', { tags: { never: true } }, tomorrow(), 60);
  // Each is queued for a moment.
  for (const id of waiting) while ((await job(client.getJob(id))).status === 'queued') await pause(20);
  const query = client.createQuery('scheduleUpdateTwin', 'scheduled', 2);
  const found = [];
  while (query.hasMoreResults) {
    const { result, message } = await query.next(query.continuationToken);
    assert.strictEqual(message.headers['x-ms-item-type'], 'JobResponse');
    assert.ok(result.length <= 2 && result.every((row) => row.status === 'scheduled'), result);
    found.push(...result.map((row) => row.jobId));
  }
  assert.deepStrictEqual(found.sort(), waiting.sort());
  for (const id of waiting) await client.cancelJob(id);
  assert.deepStrictEqual((await client.createQuery('scheduleUpdateTwin', 'scheduled').next()).result, []);
}

async function refusals(client) {
  const id = newId('job');
  assert.strictEqual((await job(client.getJob('nobody'))).status, 'unknown');
  await refused(client.cancelJob('nobody'), 'Error', 404, 'JobNotFound');
  await client.scheduleTwinUpdate(id, 'SELECT * FROM devices', { tags: { a: 1 } });
  const failed = await end(client, id);
  assert.strictEqual(failed.status, 'failed');
  assert.ok(failed.failureReason, failed);
  const again = client.scheduleTwinUpdate(id, '*', { tags: { a: 1 } });
  await refused(again, 'DeviceAlreadyExistsError', 409, 'JobAlreadyExists');
}

async function main() {
  await registries.sas().addDevices(lamps.map((deviceId) => ({ deviceId, tags: { hall } })));
  for (const [auth, make] of Object.entries(clients)) {
    for (const story of [twinUpdate, method, answered, cancel, list, refusals]) {
      await check(`jobs: ${story.name}, ${auth}`, () => story(make(), registries.sas()));
    }
  }
  finish();
}

main();
