// azure-iothub keeps module identities.
'use strict';

const assert = require('assert');
const { promisify } = require('util');
const { registries, generated, newId, refused, refusedToGenerated, check, finish } = require('./hub');

const keys = { primaryKey: 'AAECAwQFBgcICQoLDA0ODw==', secondaryKey: 'EBESExQVFhcYGRobHB0eHw==' };
const thumbprints = {
  primaryThumbprint: '0123456789ABCDEF0123456789ABCDEF01234567',
  secondaryThumbprint: '76543210fedcba9876543210fedcba9876543210',
};

const body = async (call) => (await call).responseBody;

// With a callback, because the promise that the SDK makes of this call is broken: it asks for a callback itself.
const remove = (registry, module) => promisify((done) => registry.removeModule(module, done))();

async function newDevice(registry, more = {}) {
  const deviceId = newId('node');
  await registry.create({ deviceId, ...more });
  return deviceId;
}

async function life(registry) {
  const deviceId = await newDevice(registry);
  const created = await body(registry.addModule({ deviceId, moduleId: 'fan', managedBy: 'operator' }));
  assert.deepStrictEqual([created.deviceId, created.moduleId, created.managedBy], [deviceId, 'fan', 'operator']);
  assert.deepStrictEqual([created.authentication.type, created.connectionState], ['sas', 'Disconnected']);
  assert.ok(created.authentication.symmetricKey.primaryKey && created.etag && created.generationId);
  assert.deepStrictEqual(await body(registry.getModule(deviceId, 'fan')), created);

  const changed = { ...created, managedBy: 'somebody', authentication: { type: 'sas', symmetricKey: keys } };
  const updated = await body(registry.updateModule(changed));
  assert.deepStrictEqual([updated.managedBy, updated.authentication.symmetricKey], ['somebody', keys]);
  assert.notStrictEqual(updated.etag, created.etag);
  await refused(registry.updateModule(changed), 'InvalidEtagError', 412, 'PreconditionFailed');
  await refused(remove(registry, created), 'InvalidEtagError', 412, 'PreconditionFailed');
  const forced = await body(registry.updateModule({ deviceId, moduleId: 'fan' }, true));
  assert.ok(!forced.managedBy, forced.managedBy);
  await remove(registry, forced);
  // The SDK has a class for a missing device only.
  await refused(registry.getModule(deviceId, 'fan'), 'Error', 404, 'ModuleNotFound');
  await refused(registry.removeModule(deviceId, 'fan'), 'Error', 404, 'ModuleNotFound');
}

async function certificates(registry) {
  const deviceId = await newDevice(registry);
  const pinned = { deviceId, moduleId: 'pinned', authentication: { x509Thumbprint: thumbprints } };
  assert.deepStrictEqual((await body(registry.addModule(pinned))).authentication.x509Thumbprint, thumbprints);
  await registry.addModule({ deviceId, moduleId: 'signed', authentication: { type: 'certificateAuthority' } });
  const modules = await body(registry.getModulesOnDevice(deviceId));
  const kinds = modules.map((module) => [module.moduleId, module.authentication.type]).sort();
  assert.deepStrictEqual(kinds, [['pinned', 'selfSigned'], ['signed', 'certificateAuthority']]);
}

async function edgeRuntime(registry) {
  const deviceId = await newDevice(registry, { capabilities: { iotEdge: true } });
  const modules = await body(registry.getModulesOnDevice(deviceId));
  const kinds = modules.map((module) => [module.moduleId, module.managedBy, module.authentication.type]).sort();
  assert.deepStrictEqual(kinds, [['$edgeAgent', 'iotEdge', 'none'], ['$edgeHub', 'iotEdge', 'none']]);
  const removed = registry.removeModule(deviceId, '$edgeAgent');
  await refused(removed, 'UnauthorizedError', 401, 'SystemModuleModifyUnauthorizedAccess');
  await refused(registry.addModule({ deviceId, moduleId: '$mine' }), 'ArgumentError', 400, 'ArgumentInvalid');
}

async function conflicts(registry, missingDevice) {
  const deviceId = await newDevice(registry);
  await registry.addModule({ deviceId, moduleId: 'fan' });
  const again = registry.addModule({ deviceId, moduleId: 'fan' });
  await refused(again, 'DeviceAlreadyExistsError', 409, 'ModuleAlreadyExistsOnDevice');
  await refused(registry.getModule(newId('nobody'), 'fan'), ...missingDevice);
  await refused(registry.addModule({ deviceId: newId('nobody'), moduleId: 'fan' }), ...missingDevice);
}

// Who comes with a key is not told whether there is such a device.
const missingDevice = {
  sas: ['UnauthorizedError', 401, 'IotHubUnauthorizedAccess'],
  entra: ['DeviceNotFoundError', 404, 'DeviceNotFound'],
};

// Its deletes return no promise, so what they call is called here.
async function throughTheGenerated(client) {
  const deviceId = newId('generated');
  await client.createDeviceWithSas(deviceId, '', '', true);
  const fan = await client.createModuleWithSas(deviceId, 'fan', 'me', keys.primaryKey, keys.secondaryKey);
  assert.deepStrictEqual([fan.managedBy, fan.authentication.symmetricKey], ['me', keys]);
  const { primaryThumbprint, secondaryThumbprint } = thumbprints;
  const pinned = await client.createModuleWithX509(deviceId, 'pinned', 'me', primaryThumbprint, secondaryThumbprint);
  assert.deepStrictEqual(pinned.authentication.x509Thumbprint, thumbprints);
  const signed = await client.createModuleWithCertificateAuthority(deviceId, 'signed', 'me');
  assert.strictEqual(signed.authentication.type, 'certificateAuthority');
  const updated = await client.updateModule(deviceId, 'fan', { ...fan, managedBy: 'you' });
  assert.strictEqual(updated.managedBy, 'you');
  assert.strictEqual((await client.getModule(deviceId, 'fan')).etag, updated.etag);
  const names = (await client.getModules(deviceId)).map((module) => module.moduleId).sort();
  assert.deepStrictEqual(names, ['fan', 'pinned', 'signed']);
  const again = client.createModuleWithSas(deviceId, 'fan', 'me', '', '');
  await refusedToGenerated(again, 409, 'ModuleAlreadyExistsOnDevice');
  const removed = (ifMatch) => client._pl.modules.deleteIdentity(deviceId, 'fan', { ifMatch });
  await refusedToGenerated(removed(`"${fan.etag}"`), 412, 'PreconditionFailed');
  await removed('*');
  await refusedToGenerated(client.getModule(deviceId, 'fan'), 404, 'ModuleNotFound');
}

async function main() {
  for (const [auth, make] of Object.entries(registries)) {
    await check(`module life and ETags, ${auth}`, () => life(make()));
    await check(`module conflicts, ${auth}`, () => conflicts(make(), missingDevice[auth]));
  }
  await check('modules with certificates', () => certificates(registries.sas()));
  await check('modules of the edge runtime', () => edgeRuntime(registries.sas()));
  await check('modules, generated client', () => throughTheGenerated(generated()));
  finish();
}

main();
