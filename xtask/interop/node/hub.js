// The emulator under test, and a way to say what passed.
'use strict';

const crypto = require('crypto');
const { ClientSecretCredential } = require('@azure/identity');

const ready = JSON.parse(process.env.IOTHUB_READY);

// A credential of Microsoft's identity library, for the app that the emulator knows.
const entra = () =>
  new ClientSecretCredential(ready.tenantId, ready.clientId, ready.clientSecret, {
    authorityHost: ready.authority,
    disableInstanceDiscovery: true,
  });

const newId = (prefix) => `${prefix}-${crypto.randomBytes(4).toString('hex')}`;

let failed = 0;

// Runs one check and reports it as a line.
async function check(name, body) {
  try {
    await body();
    console.log(`ok      node ${name}`);
  } catch (error) {
    failed += 1;
    console.error(error);
    console.log(`FAILED  node ${name}`);
  }
}

const finish = () => process.exit(failed ? 1 : 0);

module.exports = { ready, entra, newId, check, finish };
