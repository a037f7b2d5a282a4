// azure-iothub changes many identities and twins in one call.
'use strict';

const assert = require('assert');
const { registries, generated, newId, refused, check, finish } = require('./hub');

const keys = { primaryKey: 'AAECAwQFBgcICQoLDA0ODw==', secondaryKey: 'EBESExQVFhcYGRobHB0eHw==' };
const authentication = { type: 'sas', symmetricKey: keys };

const body = async (call) => (await call).responseBody;
const ids = (count) => Array.from({ length: count }, () => newId('bulk'));

async function succeeds(call) {
  assert.deepStrictEqual(await body(call), { isSuccessful: true, errors: [], warnings: [] });
}

// The SDK rejects a call of which a part failed; the items that did are in the body.
async function failsInPart(call, expected) {
  await assert.rejects(call, (error) => {
    assert.deepStrictEqual([error.name, error.response.statusCode], ['ArgumentError', 400]);
    assert.strictEqual(error.response.headers['iothub-errorcode'], 'BulkRegistryOperationFailure');
    const result = JSON.parse(error.responseBody);
    assert.strictEqual(result.isSuccessful, false);
    assert.deepStrictEqual(result.errors.map(({ deviceId, errorCode }) => [deviceId, errorCode]), expected);
    return true;
  });
}

async function hundred(registry) {
  const many = ids(100);
  await succeeds(registry.addDevices(many.map((deviceId) => ({ deviceId, status: 'enabled', authentication }))));
  assert.deepStrictEqual((await body(registry.get(many[99]))).authentication.symmetricKey, keys);
  const disabled = many.map((deviceId) => ({ deviceId, status: 'disabled', authentication }));
  await succeeds(registry.updateDevices(disabled, true));
  assert.strictEqual((await body(registry.get(many[50]))).status, 'disabled');
  await succeeds(registry.removeDevices(many.map((deviceId) => ({ deviceId })), true));
  const listed = (await body(registry.list())).map((device) => device.deviceId);
  assert.ok(!listed.some((id) => many.includes(id)), listed);
}

async function withTwins(registry) {
  const [deviceId] = ids(1);
  const properties = { desired: { speed: 1 } };
  await succeeds(registry.addDevices([{ deviceId, status: 'enabled', tags: { site: 'x' }, properties }]));
  const twin = await body(registry.getTwin(deviceId));
  assert.deepStrictEqual([twin.tags, twin.properties.desired.speed], [{ site: 'x' }, 1]);
  assert.ok((await body(registry.get(deviceId))).authentication.symmetricKey.primaryKey);
}

async function conditions(registry) {
  const [deviceId] = ids(1);
  const stale = (await body(registry.create({ deviceId }))).etag;
  const fresh = (await body(registry.update({ deviceId }))).etag;
  const change = (eTag) => [{ deviceId, eTag, status: 'disabled', authentication }];
  await failsInPart(registry.updateDevices(change(stale), false), [[deviceId, 412001]]);
  await failsInPart(registry.removeDevices(change(stale), false), [[deviceId, 412001]]);
  await succeeds(registry.updateDevices(change(fresh), false));
  const device = await body(registry.get(deviceId));
  assert.strictEqual(device.status, 'disabled');
  await succeeds(registry.removeDevices(change(device.etag), false));
  await refused(registry.get(deviceId), 'DeviceNotFoundError', 404, 'DeviceNotFound');
}

async function partialFailure(registry) {
  const [old, fresh, none] = ids(3);
  await registry.create({ deviceId: old });
  await failsInPart(registry.addDevices([{ deviceId: old }, { deviceId: fresh }]), [[old, 409001]]);
  assert.strictEqual((await body(registry.get(fresh))).deviceId, fresh);
  await failsInPart(registry.removeDevices([{ deviceId: none }, { deviceId: fresh }], true), [[none, 404001]]);
  await refused(registry.get(fresh), 'DeviceNotFoundError', 404, 'DeviceNotFound');
}

async function definedTwice(registry) {
  const [deviceId] = ids(1);
  const call = registry.addDevices([{ deviceId }, { deviceId }]);
  await refused(call, 'ArgumentError', 400, 'DeviceDefinedMultipleTimes');
}

// The generated client knows every mode, those of twins and modules too, and hands back what failed.
async function throughTheGenerated(client) {
  const [id] = ids(1);
  const bulk = async (item) => {
    const { isSuccessful, errors } = await client.bulkCreateOrUpdateDevices([item]);
    assert.strictEqual(isSuccessful, errors.length === 0);
    return errors.map((error) => `${error.errorCode}`);
  };
  assert.deepStrictEqual(await bulk({ id, importMode: 'create', status: 'enabled', tags: { a: 1, b: 2 } }), []);
  assert.deepStrictEqual(await bulk({ id, importMode: 'updateTwin', tags: { a: null, c: 3 } }), []);
  assert.deepStrictEqual((await client.getTwin(id)).tags, { b: 2, c: 3 });
  assert.deepStrictEqual(await bulk({ id, moduleId: 'fan', importMode: 'create', status: 'enabled' }), []);
  assert.deepStrictEqual(await bulk({ id, moduleId: 'fan', importMode: 'updateTwin', tags: { m: 1 } }), []);
  assert.deepStrictEqual((await client.getModuleTwin(id, 'fan')).tags, { m: 1 });
  const late = { id, importMode: 'updateTwinIfMatchETag', twinETag: 'c3RhbGU=', tags: { b: 0 } };
  assert.deepStrictEqual(await bulk(late), ['412001']);
  assert.deepStrictEqual(await bulk({ id, importMode: 'delete' }), []);
}

async function main() {
  for (const [auth, make] of Object.entries(registries)) {
    await check(`a hundred devices in bulk, ${auth}`, () => hundred(make()));
    await check(`bulk calls that fail in part, ${auth}`, () => partialFailure(make()));
  }
  await check('devices with twins in bulk', () => withTwins(registries.sas()));
  await check('bulk modes with a condition', () => conditions(registries.sas()));
  await check('a bulk call that names a device twice', () => definedTwice(registries.sas()));
  await check('every bulk mode, generated client', () => throughTheGenerated(generated()));
  finish();
}

main();
