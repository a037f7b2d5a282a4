// Azurite, the storage emulator of Microsoft, in memory.
'use strict';

const { spawn } = require('child_process');
const net = require('net');
const storage = require('@azure/storage-blob');

// The account that Azurite is born with; its key is public.
const account = 'devstoreaccount1';
const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

// Runs Azurite, and returns its blob service once that listens. With a certificate and its key it speaks HTTPS, and passes
// over the header of a feature that it has not, which the storage client in azure-iot-device always sends.
async function azurite({ port, certificate, certificateKey } = {}) {
  const blobPort = port ?? (await freePort());
  const script = require.resolve('azurite/dist/src/blob/main.js');
  const args = ['--inMemoryPersistence', '--blobHost', '127.0.0.1', '--blobPort', String(blobPort), '--skipApiVersionCheck', '--disableTelemetry'];
  if (certificate) args.push('--cert', certificate, '--key', certificateKey, '--loose');
  const server = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => server.kill());
  await new Promise((resolve, reject) => {
    server.once('exit', (code) => reject(new Error(`azurite ended with ${code}`)));
    server.stdout.on('data', (text) => /successfully listens/.test(text) && resolve());
  });
  const origin = certificate ? `https://localhost:${blobPort}` : `http://127.0.0.1:${blobPort}`;
  return new storage.BlobServiceClient(`${origin}/${account}`, new storage.StorageSharedKeyCredential(account, key));
}

module.exports = { azurite };
