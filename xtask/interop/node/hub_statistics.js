// azure-iothub counts the devices of the hub.
'use strict';

const assert = require('assert');
const { registries, generated, newId, check, finish } = require('./hub');

const numbers = ({ totalDeviceCount, enabledDeviceCount, disabledDeviceCount }) => [
  totalDeviceCount, enabledDeviceCount, disabledDeviceCount,
];

async function followTheRegistry(registry) {
  const counts = async () => numbers((await registry.getRegistryStatistics()).responseBody);
  assert.deepStrictEqual(await counts(), [0, 0, 0]);
  const ids = Array.from({ length: 4 }, () => newId('node'));
  for (const [at, deviceId] of ids.entries()) {
    await registry.create({ deviceId, status: at === 0 ? 'disabled' : 'enabled' });
  }
  assert.deepStrictEqual(await counts(), [4, 3, 1]);
  await registry.update({ deviceId: ids[0], status: 'enabled' });
  assert.deepStrictEqual(await counts(), [4, 4, 0]);
  for (const deviceId of ids) await registry.delete(deviceId);
  assert.deepStrictEqual(await counts(), [0, 0, 0]);
}

async function throughTheGenerated(client) {
  await client.createDeviceWithSas(newId('generated'), '', '', true);
  assert.deepStrictEqual(numbers(await client.getDeviceRegistryStatistics()), [1, 1, 0]);
  assert.strictEqual((await client.getServiceStatistics()).connectedDeviceCount, 0);
}

async function main() {
  for (const [auth, make] of Object.entries(registries)) {
    await check(`registry statistics, ${auth}`, () => followTheRegistry(make()));
  }
  await check('registry and service statistics, generated client', () => throughTheGenerated(generated()));
  finish();
}

main();
