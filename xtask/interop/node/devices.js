// azure-iothub keeps device identities: keys, certificates, edge, conflicts, lists.
'use strict';

const assert = require('assert');
const { Registry } = require('azure-iothub');
const { ready, registries, generated, newId, refused, refusedToGenerated, check, finish } = require('./hub');

const keys = { primaryKey: 'AAECAwQFBgcICQoLDA0ODw==', secondaryKey: 'EBESExQVFhcYGRobHB0eHw==' };
const sha1 = {
  primaryThumbprint: '0123456789ABCDEF0123456789ABCDEF01234567',
  secondaryThumbprint: '76543210fedcba9876543210fedcba9876543210',
};
const sha256 = { primaryThumbprint: 'A'.repeat(64), secondaryThumbprint: 'b'.repeat(64) };
const noKeys = { primaryKey: null, secondaryKey: null };
const punctuation = "-:.+%_#*?!(),=@;$'";

const body = async (call) => (await call).responseBody;

async function generatedKeys(registry) {
  const deviceId = newId('node');
  const created = await body(registry.create({ deviceId }));
  assert.strictEqual(created.deviceId, deviceId);
  assert.deepStrictEqual([created.status, created.authentication.type], ['enabled', 'sas']);
  const { primaryKey, secondaryKey } = created.authentication.symmetricKey;
  assert.notStrictEqual(primaryKey, secondaryKey);
  for (const key of [primaryKey, secondaryKey]) {
    const length = Buffer.from(key, 'base64').length;
    assert.ok(length >= 16 && length <= 64, key);
  }
  assert.ok(created.generationId && created.etag);
  assert.deepStrictEqual([created.connectionState, created.cloudToDeviceMessageCount], ['Disconnected', 0]);
  assert.deepStrictEqual(await body(registry.get(deviceId)), created);
}

async function givenKeys(registry) {
  const device = { deviceId: newId('node'), status: 'disabled', statusReason: 'in the warehouse' };
  const created = await body(registry.create({ ...device, authentication: { symmetricKey: keys } }));
  assert.deepStrictEqual([created.status, created.statusReason], ['disabled', 'in the warehouse']);
  assert.deepStrictEqual((await body(registry.get(device.deviceId))).authentication.symmetricKey, keys);
  for (const symmetricKey of [{ ...keys, primaryKey: 'not base64' }, { primaryKey: keys.primaryKey }]) {
    const create = registry.create({ deviceId: newId('node'), authentication: { symmetricKey } });
    await refused(create, 'ArgumentError', 400, 'ArgumentInvalid');
  }
}

async function certificates(registry) {
  for (const x509Thumbprint of [sha1, sha256]) {
    const created = await body(registry.create({ deviceId: newId('node'), authentication: { x509Thumbprint } }));
    assert.strictEqual(created.authentication.type, 'selfSigned');
    assert.deepStrictEqual(created.authentication.x509Thumbprint, x509Thumbprint);
    assert.deepStrictEqual(created.authentication.symmetricKey, noKeys);
  }
  const wrong = { x509Thumbprint: { primaryThumbprint: '12:34', secondaryThumbprint: '12:34' } };
  const create = registry.create({ deviceId: newId('node'), authentication: wrong });
  await refused(create, 'ArgumentError', 400, 'ArgumentInvalid');
  const signed = { deviceId: newId('node'), authentication: { type: 'certificateAuthority' } };
  assert.strictEqual((await body(registry.create(signed))).authentication.type, 'certificateAuthority');
  assert.deepStrictEqual((await body(registry.get(signed.deviceId))).authentication.symmetricKey, noKeys);
}

// An edge device, a leaf below it, and an edge device below it.
async function family(registry) {
  const edge = await body(registry.create({ deviceId: newId('edge'), capabilities: { iotEdge: true } }));
  assert.strictEqual(edge.capabilities.iotEdge, true);
  assert.ok(edge.deviceScope.startsWith(`ms-azure-iot-edge://${edge.deviceId}-`), edge.deviceScope);
  const leaf = await body(registry.create({ deviceId: newId('leaf'), deviceScope: edge.deviceScope }));
  assert.deepStrictEqual([leaf.deviceScope, leaf.parentScopes], [edge.deviceScope, [edge.deviceScope]]);
  const below = { deviceId: newId('child'), capabilities: { iotEdge: true }, parentScopes: [edge.deviceScope] };
  const child = await body(registry.create(below));
  assert.deepStrictEqual(child.parentScopes, [edge.deviceScope]);
  assert.ok(child.deviceScope.startsWith(`ms-azure-iot-edge://${below.deviceId}-`), child.deviceScope);
  const astray = registry.create({ deviceId: newId('leaf'), deviceScope: 'ms-azure-iot-edge://nobody-1' });
  await refused(astray, 'ArgumentError', 400, 'InvalidDeviceScope');
}

async function updates(registry) {
  const deviceId = newId('node');
  const first = await body(registry.create({ deviceId, authentication: { symmetricKey: keys } }));
  const second = await body(registry.update({ ...first, status: 'disabled', statusReason: 'broken' }));
  assert.deepStrictEqual([second.status, second.statusReason], ['disabled', 'broken']);
  assert.deepStrictEqual(second.authentication.symmetricKey, keys);
  assert.strictEqual(second.generationId, first.generationId);
  assert.notStrictEqual(second.etag, first.etag);
  const third = await body(registry.update({ deviceId }));
  assert.strictEqual(third.status, 'enabled');
  assert.notStrictEqual(third.authentication.symmetricKey.primaryKey, keys.primaryKey);
}

async function conflicts(registry) {
  const deviceId = newId('node');
  const created = await body(registry.create({ deviceId }));
  await refused(registry.create({ deviceId }), 'DeviceAlreadyExistsError', 409, 'DeviceAlreadyExists');
  await registry.delete(deviceId);
  const notFound = ['DeviceNotFoundError', 404, 'DeviceNotFound'];
  await refused(registry.get(deviceId), ...notFound);
  await refused(registry.delete(deviceId), ...notFound);
  await refused(registry.update({ deviceId }), ...notFound);
  assert.notStrictEqual((await body(registry.create({ deviceId }))).generationId, created.generationId);
  for (const wrong of ['no spaces', 'x'.repeat(129)]) {
    await refused(registry.create({ deviceId: wrong }), 'ArgumentError', 400, 'ArgumentInvalid');
  }
}

async function everyCharacter(registry) {
  const ids = [...punctuation].map((character) => newId('n') + character);
  for (const deviceId of [`Az09${punctuation}`, ...ids, 'x'.repeat(128)]) {
    assert.strictEqual((await body(registry.create({ deviceId }))).deviceId, deviceId);
    assert.strictEqual((await body(registry.get(deviceId))).deviceId, deviceId);
    await registry.delete(deviceId);
    await refused(registry.get(deviceId), 'DeviceNotFoundError', 404, 'DeviceNotFound');
  }
}

async function lists(registry) {
  const ids = [newId('listed'), newId('listed')];
  for (const deviceId of ids) await registry.create({ deviceId });
  const listed = async () => (await body(registry.list())).map((device) => device.deviceId);
  const before = await listed();
  assert.ok(ids.every((id) => before.includes(id)), before);
  await registry.delete(ids[0]);
  const after = await listed();
  assert.ok(!after.includes(ids[0]) && after.includes(ids[1]), after);
}

// Its deletes return no promise, so what they call is called here.
async function throughTheGenerated(client) {
  const deviceId = newId('generated');
  const first = await client.createDeviceWithSas(deviceId, keys.primaryKey, keys.secondaryKey, false);
  assert.deepStrictEqual([first.deviceId, first.status], [deviceId, 'disabled']);
  assert.deepStrictEqual(first.authentication.symmetricKey, keys);
  const second = await client.updateDevice(deviceId, { ...first, status: 'enabled' });
  assert.strictEqual(second.status, 'enabled');
  assert.deepStrictEqual((await client.getDevice(deviceId)).etag, second.etag);
  const listed = await client.getDevices(1000);
  assert.ok(listed.some((device) => device.deviceId === deviceId));
  assert.strictEqual((await client.getDevices(1)).length, 1);

  const pinned = await client.createDeviceWithX509(
    newId('generated'), sha1.primaryThumbprint, sha1.secondaryThumbprint, true, true,
  );
  assert.deepStrictEqual([pinned.authentication.type, pinned.capabilities.iotEdge], ['selfSigned', true]);
  const signed = await client.createDeviceWithCertificateAuthority(newId('generated'), true);
  assert.strictEqual(signed.authentication.type, 'certificateAuthority');

  const again = client.createDeviceWithSas(deviceId, '', '', true);
  await refusedToGenerated(again, 409, 'DeviceAlreadyExists');
  const remove = (ifMatch) => client._pl.devices.deleteIdentity(deviceId, { ifMatch });
  await refusedToGenerated(remove(`"${first.etag}"`), 412, 'PreconditionFailed');
  await refusedToGenerated(remove(undefined), 412, 'PreconditionFailed');
  await remove(`"${second.etag}"`);
  await refusedToGenerated(client.getDevice(deviceId), 404, 'DeviceNotFound');
}

async function wrongKey() {
  const stranger = ready.connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${keys.primaryKey}`);
  const call = Registry.fromConnectionString(stranger).get('any');
  await refused(call, 'UnauthorizedError', 401, 'IotHubUnauthorizedAccess');
}

async function main() {
  for (const [auth, make] of Object.entries(registries)) {
    await check(`device with generated keys, ${auth}`, () => generatedKeys(make()));
    await check(`device with given keys, ${auth}`, () => givenKeys(make()));
    await check(`device updates, ${auth}`, () => updates(make()));
    await check(`device conflicts, ${auth}`, () => conflicts(make()));
  }
  await check('devices with certificates', () => certificates(registries.sas()));
  await check('edge devices, parents and children', () => family(registries.sas()));
  await check('device ids of every character', () => everyCharacter(registries.sas()));
  await check('devices are listed', () => lists(registries.sas()));
  await check('devices, generated client', () => throughTheGenerated(generated()));
  await check('a wrong key is refused', wrongKey);
  finish();
}

main();
