// Every credential of @azure/identity that works without a person, and a signature made elsewhere, read a device.
'use strict';

const assert = require('assert');
const fs = require('fs');
const {
  ChainedTokenCredential,
  ClientAssertionCredential,
  ClientCertificateCredential,
  ClientSecretCredential,
  DefaultAzureCredential,
  EnvironmentCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} = require('@azure/identity');
const { Amqp, AmqpWs, Client, ConnectionString, JobClient, Registry, SharedAccessSignature } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const management = require('./management');
const { ready, registries, newId, refused, check, finish } = require('./hub');

const app = [ready.tenantId, ready.clientId];
const authority = { authorityHost: ready.authority, disableInstanceDiscovery: true };
const scope = 'https://iothubs.azure.net/.default';

const managedIdentity = { IDENTITY_ENDPOINT: ready.identityEndpoint, IDENTITY_HEADER: ready.identityHeader };
const environment = (more) => ({
  AZURE_TENANT_ID: ready.tenantId, AZURE_CLIENT_ID: ready.clientId, AZURE_AUTHORITY_HOST: ready.authority, ...more,
});
const secret = environment({ AZURE_CLIENT_SECRET: ready.clientSecret });
const certificate = environment({ AZURE_CLIENT_CERTIFICATE_PATH: ready.certificateFile });
const workloadIdentity = environment({ AZURE_FEDERATED_TOKEN_FILE: ready.federatedTokenFile });

const assertion = async () => fs.promises.readFile(ready.federatedTokenFile, 'utf8');

// The name of a credential, what the environment holds, and how it is made.
const credentials = [
  ['client secret', {}, () => new ClientSecretCredential(...app, ready.clientSecret, authority)],
  ['certificate', {}, () => new ClientCertificateCredential(...app, ready.certificateFile, authority)],
  ['certificate with its chain', {}, () => new ClientCertificateCredential(
    ...app, { certificatePath: ready.certificateFile }, { ...authority, sendCertificateChain: true },
  )],
  ['client assertion', {}, () => new ClientAssertionCredential(...app, assertion, authority)],
  ['workload identity', {}, () => new WorkloadIdentityCredential({
    tenantId: app[0], clientId: app[1], tokenFilePath: ready.federatedTokenFile, ...authority,
  })],
  ['managed identity', managedIdentity, () => new ManagedIdentityCredential()],
  ['environment with a secret', secret, () => new EnvironmentCredential(authority)],
  ['environment with a certificate', certificate, () => new EnvironmentCredential(authority)],
  ['default: environment', secret, () => new DefaultAzureCredential(authority)],
  ['default: workload identity', workloadIdentity, () => new DefaultAzureCredential(authority)],
  ['default: managed identity', managedIdentity, () => new DefaultAzureCredential(authority)],
  ['chain', managedIdentity, () => new ChainedTokenCredential(
    new EnvironmentCredential(authority), new ManagedIdentityCredential(),
  )],
];

async function readsADevice(settings, make) {
  const deviceId = newId('node');
  await registries.sas().create({ deviceId });
  const kept = { ...process.env };
  for (const name of Object.keys(kept)) if (/^(AZURE|IDENTITY|MSI)_/.test(name)) delete process.env[name];
  Object.assign(process.env, settings);
  try {
    const registry = Registry.fromTokenCredential(ready.host, make());
    assert.strictEqual((await registry.get(deviceId)).responseBody.deviceId, deviceId);
  } finally {
    for (const name of Object.keys(settings)) delete process.env[name];
    Object.assign(process.env, kept);
  }
}

async function refusals() {
  const nobody = '00000000-0000-0000-0000-000000000000';
  for (const [credential, code] of [
    [new ClientSecretCredential(...app, 'wrong', authority), 'AADSTS7000215'],
    [new ClientSecretCredential(ready.tenantId, nobody, ready.clientSecret, authority), 'AADSTS700016'],
    [new ClientAssertionCredential(...app, async () => 'no.such.token', authority), 'AADSTS50027'],
  ]) {
    await assert.rejects(credential.getToken(scope), (error) => {
      assert.strictEqual(error.name, 'AuthenticationRequiredError');
      assert.ok(error.message.includes(code), error.message);
      return true;
    });
  }
}

// A signature that came from somewhere else, and the same when its time is over.
async function signatures() {
  const deviceId = newId('node');
  await registries.sas().create({ deviceId });
  const { HostName, SharedAccessKeyName, SharedAccessKey } = ConnectionString.parse(ready.connectionString);
  const now = Math.floor(Date.now() / 1000);
  const sign = (expiry) => SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, expiry).toString();
  const [valid, expired] = [sign(now + 600), sign(now - 3600)];
  const reads = (signature) => Registry.fromSharedAccessSignature(signature).get(deviceId);
  assert.strictEqual((await reads(valid)).responseBody.deviceId, deviceId);
  await refused(reads(expired), 'UnauthorizedError', 401, 'IotHubUnauthorizedAccess');
  const looks = (signature) => JobClient.fromSharedAccessSignature(signature).getJob('nobody');
  assert.strictEqual((await looks(valid)).jobStatus.status, 'unknown');
  await refused(looks(expired), 'UnauthorizedError', 401, 'IotHubUnauthorizedAccess');
  const service = Client.fromSharedAccessSignature(valid);
  await service.open();
  await service.send(deviceId, 'on');
  await service.close();
  assert.strictEqual((await registries.sas().get(deviceId)).responseBody.cloudToDeviceMessageCount, 1);
  const late = Client.fromSharedAccessSignature(expired);
  await assert.rejects(late.open(), (error) => error.amqpError.name === 'UnauthorizedError');
}

// A connection goes on with a newer signature, and not with a wrong one.
async function renewals(Transport) {
  const deviceId = newId('node');
  await registries.sas().create({ deviceId });
  const { HostName: host, SharedAccessKeyName: keyName, SharedAccessKey } = ConnectionString.parse(ready.connectionString);
  const sign = (key, lifetime) =>
    SharedAccessSignature.create(host, keyName, key, Math.floor(Date.now() / 1000) + lifetime).toString();
  const transport = new Transport({ host, keyName, sharedAccessSignature: sign(SharedAccessKey, 600) });
  const since = await management.now();
  await transport.connect();
  await transport.send(deviceId, new Message('on'));
  await transport.updateSharedAccessSignature(sign(SharedAccessKey, 1200));
  await transport.send(deviceId, new Message('off'));
  const wrong = sign(Buffer.alloc(32, 7).toString('base64'), 1200);
  await assert.rejects(transport.updateSharedAccessSignature(wrong), { name: 'UnauthorizedError' });
  const put = await management.events(since, 3, ({ type, event }) => type === 'amqp' && event.type === 'tokenPut');
  assert.deepStrictEqual(put.map(({ event }) => event.status), [200, 200, 401]);
  await transport.disconnect();
  assert.strictEqual((await registries.sas().get(deviceId)).responseBody.cloudToDeviceMessageCount, 2);
}

async function main() {
  for (const [name, settings, make] of credentials) {
    await check(`read a device, ${name}`, () => readsADevice(settings, make));
  }
  await check('what proves nothing gets no token', refusals);
  await check('a signature counts until it expires', signatures);
  for (const [name, transport] of Object.entries({ amqp: Amqp, 'amqp-ws': AmqpWs })) {
    await check(`goes on with a newer signature, ${name}`, () => renewals(transport));
  }
  finish();
}

main();
