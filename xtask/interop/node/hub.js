// The emulator under test, and a way to say what passed.
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const { ClientSecretCredential } = require('@azure/identity');
const { IoTHubTokenCredentials, Registry } = require('azure-iothub');
const { IoTHubRegistryManager } = require('azure-iothub/dist/cl/iothub_registry_manager.js');
const operations = require('./operations');

operations.watch();

const ready = JSON.parse(process.env.IOTHUB_READY);

// A credential of Microsoft's identity library, for the app that the emulator knows.
const entra = () =>
  new ClientSecretCredential(ready.tenantId, ready.clientId, ready.clientSecret, {
    authorityHost: ready.authority,
    disableInstanceDiscovery: true,
  });

// How a registry is made, for each way to authenticate.
const registries = {
  sas: () => Registry.fromConnectionString(ready.connectionString),
  entra: () => Registry.fromTokenCredential(ready.host, entra()),
};

// The client that the SDK generates from Microsoft's own description of the service, below the registry's.
const generated = () => new IoTHubRegistryManager(new IoTHubTokenCredentials(ready.connectionString));

const newId = (prefix) => `${prefix}-${crypto.randomBytes(4).toString('hex')}`;

// Checks that the registry rejects with this class of error, because the hub said this.
async function refused(call, name, status, code) {
  await assert.rejects(call, (error) => {
    assert.ok(error.response?.headers, error);
    const { statusCode, headers } = error.response;
    assert.deepStrictEqual([error.name, statusCode, headers['iothub-errorcode']], [name, status, code]);
    return true;
  });
}

// The same for the generated client, which has one class of error for all.
async function refusedToGenerated(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.ok(error.response?.headers, error);
    assert.deepStrictEqual([error.statusCode, error.response.headers.get('iothub-errorcode')], [status, code]);
    return true;
  });
}

let failed = 0;

// Runs one check and reports it as a line.
async function check(name, body) {
  try {
    await operations.pass(body);
    console.log(`ok      node ${name}`);
  } catch (error) {
    failed += 1;
    // Not the whole error: it holds the request, and that the token.
    console.error(error.stack, error.responseBody ?? '');
    console.log(`FAILED  node ${name}`);
  }
}

function finish() {
  operations.report();
  process.exit(failed ? 1 : 0);
}

module.exports = { ready, entra, registries, generated, newId, refused, refusedToGenerated, check, finish };
