// azure-iothub imports and exports through Azurite, the storage emulator of Microsoft, and through the emulator's own account.
'use strict';

const assert = require('assert');
const http = require('http');
const storage = require('@azure/storage-blob');
const { azurite } = require('./azurite');
const { ready, registries, newId, refused, check, finish } = require('./hub');

// The emulator's own account. It takes no requests that are signed with the key, only signatures made with it.
function own() {
  const signer = storage.BlobServiceClient.fromConnectionString(ready.storageConnectionString);
  const permissions = storage.AccountSASPermissions.parse('rwdlc');
  const hour = new Date(Date.now() + 3600e3);
  const service = new storage.BlobServiceClient(signer.generateAccountSasUrl(hour, permissions, 'sco'));
  return Object.assign(service, { signer: signer.credential });
}

async function newContainer(service) {
  const container = service.getContainerClient(newId('container'));
  await container.create();
  const options = {
    containerName: container.containerName,
    permissions: storage.ContainerSASPermissions.parse('rwdlc'),
    expiresOn: new Date(Date.now() + 3600e3),
  };
  const sas = storage.generateBlobSASQueryParameters(options, service.signer ?? service.credential);
  return { container, uri: `${container.url.split('?')[0]}?${sas}` };
}

const write = (container, name, lines) => {
  const text = lines.map((line) => JSON.stringify(line)).join('\n');
  return container.getBlockBlobClient(name).upload(text, Buffer.byteLength(text));
};

async function read(container, name) {
  const text = (await container.getBlobClient(name).downloadToBuffer()).toString();
  return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

async function ended(registry, jobId) {
  for (;;) {
    const job = await registry.getJob(jobId);
    if (!['enqueued', 'running'].includes(job.status)) return job;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function roundTrip(service, registry) {
  const { container, uri } = await newContainer(service);
  const [mine, other] = [newId('mine'), newId('other')];
  await write(container, 'devices.txt', [
    { id: mine, importMode: 'create', status: 'disabled', tags: { site: 'x' } },
    { id: other, status: 'enabled' },
    { id: other, moduleId: 'm', status: 'enabled' },
    { id: newId('nobody'), importMode: 'delete', status: 'enabled' },
  ]);
  const started = await registry.importDevicesFromBlob(uri, uri);
  assert.strictEqual(started.type, 'import');
  const imported = await ended(registry, started.jobId);
  assert.strictEqual(imported.status, 'completed', imported.failureReason);
  const errors = await read(container, 'importErrors.log');
  assert.deepStrictEqual(errors.map((error) => error.errorCode), [404001]);
  assert.strictEqual((await registry.get(mine)).responseBody.status, 'disabled');
  assert.deepStrictEqual((await registry.getTwin(mine)).responseBody.tags, { site: 'x' });

  const exporting = await registry.exportDevicesToBlob(uri, false);
  const exported = await ended(registry, exporting.jobId);
  assert.strictEqual(exported.status, 'completed', exported.failureReason);
  assert.strictEqual(exported.progress, 100);
  const lines = await read(container, 'devices.txt');
  const device = lines.find((line) => line.id === mine);
  assert.deepStrictEqual([device.status, device.tags], ['disabled', { site: 'x' }]);
  const registered = (await registry.get(mine)).responseBody;
  assert.deepStrictEqual(device.authentication.symmetricKey, registered.authentication.symmetricKey);
  assert.ok(lines.some((line) => line.id === other && line.moduleId === 'm'));

  const jobs = (await registry.listJobs()).responseBody;
  for (const { jobId } of [imported, exported]) assert.ok(jobs.some((job) => job.jobId === jobId));
  await registry.removeDevices([{ deviceId: mine }, { deviceId: other }], true);
}

// More than one block, so that blocks and a list of them are put.
async function manyDevices(service, registry) {
  const { container, uri } = await newContainer(service);
  const prefix = newId('many');
  const note = 'n'.repeat(3000);
  const lines = [];
  for (let at = 0; at < 3000; at += 1) lines.push({ id: `${prefix}-${at}`, status: 'enabled', tags: { note } });
  await write(container, 'devices.txt', lines);
  const imported = await registry.importDevicesFromBlob(uri, uri);
  assert.strictEqual((await ended(registry, imported.jobId)).status, 'completed');
  assert.deepStrictEqual(await read(container, 'importErrors.log'), []);
  const exporting = await registry.exportDevicesToBlob(uri, true);
  assert.strictEqual((await ended(registry, exporting.jobId)).status, 'completed');
  const blob = container.getBlockBlobClient('devices.txt');
  const blocks = (await blob.downloadToBuffer()).toString().split('\n').filter((line) => line.startsWith('{'));
  const found = blocks.map((line) => JSON.parse(line)).filter((line) => line.id.startsWith(prefix));
  assert.strictEqual(found.length, lines.length);
  assert.ok(found.every((line) => line.authentication === null && line.tags.note === note));
  await write(container, 'devices.txt', lines.map(({ id }) => ({ id, importMode: 'delete', status: 'enabled' })));
  const deleting = await registry.importDevicesFromBlob(uri, uri);
  assert.strictEqual((await ended(registry, deleting.jobId)).status, 'completed');
  await refused(registry.get(`${prefix}-0`), 'DeviceNotFoundError', 404, 'DeviceNotFound');
}

// The identity in this script's configuration.
const identity = (name) => `/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/${name}`;

// The hub's own identity, or one that is assigned to it, may use the emulator's account without a signature.
async function byIdentity(registry, ...assigned) {
  const { container } = await newContainer(own());
  const uri = container.url.split('?')[0];
  const deviceId = newId('mine');
  await write(container, 'devices.txt', [{ id: deviceId, status: 'disabled' }]);
  const importing = await registry.importDevicesFromBlobByIdentity(uri, uri, ...assigned);
  assert.strictEqual((await ended(registry, importing.jobId)).status, 'completed');
  assert.strictEqual((await registry.get(deviceId)).responseBody.status, 'disabled');
  const exporting = await registry.exportDevicesToBlobByIdentity(uri, false, ...assigned);
  assert.strictEqual((await ended(registry, exporting.jobId)).status, 'completed');
  assert.ok((await read(container, 'devices.txt')).some((line) => line.id === deviceId));
  const nobody = registry.exportDevicesToBlobByIdentity(uri, false, identity('nobody'));
  await refused(nobody, 'ArgumentError', 400, 'ManagedIdentityNotEnabled');
}

// A container that answers every request but the one for the job's own blob, so that the job goes on until it is cancelled.
async function cancel(registry) {
  const server = http.createServer((request, response) => {
    if (request.method === 'GET' && request.url.includes('devices.txt')) return;
    response.writeHead({ PUT: 201, DELETE: 202 }[request.method] ?? 200).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const uri = `http://127.0.0.1:${server.address().port}/account/container?sv=x`;
  const { jobId } = await registry.importDevicesFromBlob(uri, uri);
  await refused(registry.exportDevicesToBlob(uri, true), 'TooManyDevicesError', 403, 'JobQuotaExceeded');
  await registry.cancelJob(jobId);
  assert.strictEqual((await ended(registry, jobId)).status, 'cancelled');
  server.closeAllConnections();
  server.close();
}

async function badStorage(service, registry) {
  const { uri } = await newContainer(service);
  const forged = uri.replace(/sig=.{4}/, 'sig=AAAA');
  await refused(registry.exportDevicesToBlob(forged, false), 'ArgumentError', 400, 'BlobContainerValidationError');
}

async function main() {
  const accounts = { azurite: await azurite(), own: own() };
  for (const [name, service] of Object.entries(accounts)) {
    for (const auth of Object.keys(registries)) {
      await check(`import and export, ${name}, ${auth}`, () => roundTrip(service, registries[auth]()));
    }
    await check(`import and export 3000 devices, ${name}`, () => manyDevices(service, registries.sas()));
    await check(`a forged signature is refused, ${name}`, () => badStorage(service, registries.sas()));
  }
  await check('import and export, own, by identity', () => byIdentity(registries.sas()));
  await check('import and export, own, by an assigned identity', () => byIdentity(registries.sas(), identity('mover')));
  await check('a job is cancelled, and another has to wait', () => cancel(registries.sas()));
  finish();
}

main();
