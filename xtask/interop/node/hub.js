// The emulator under test, and a way to say what passed.
'use strict';

const assert = require('assert');
const { execFileSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
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

// Makes a certificate for a device, signed by itself, or by an authority.
function certificate(name, issuer = []) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'interop-'));
  const [keyFile, certFile] = ['key.pem', 'cert.pem'].map((file) => path.join(folder, file));
  try {
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`];
    const usual = ['-addext', 'basicConstraints=critical,CA:FALSE'];
    execFileSync('openssl', [...request, ...usual, ...issuer, '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' });
    const cert = fs.readFileSync(certFile, 'utf8');
    const thumbprint = new crypto.X509Certificate(cert).fingerprint256.replaceAll(':', '');
    return { cert, key: fs.readFileSync(keyFile, 'utf8'), thumbprint };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

// A certificate for a device that nobody but its registration vouches for.
const selfSigned = (name) => certificate(name);

// A certificate of the authority that the emulator trusts.
const signed = (name) =>
  certificate(name, ['-CA', process.env.IOTHUB_DEVICE_AUTHORITY, '-CAkey', process.env.IOTHUB_DEVICE_AUTHORITY_KEY]);

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

module.exports = { ready, entra, registries, generated, newId, selfSigned, signed, refused, refusedToGenerated, check, finish };
