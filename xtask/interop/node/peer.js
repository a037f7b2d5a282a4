// The clients of this workspace as the service at the other end: a program that takes commands as lines of JSON.
'use strict';

const { spawn } = require('child_process');
const readline = require('readline');
const { ready } = require('./hub');

class Peer {
  constructor() {
    const env = { ...process.env, IOTHUB_CONNECTION_STRING: ready.connectionString, IOTHUB_CA_FILE: ready.caFile };
    this.process = spawn(process.env.IOTHUB_PEER, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.waiting = new Map();
    readline.createInterface({ input: this.process.stdout }).on('line', (line) => {
      const { id, ok, error } = JSON.parse(line);
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(Object.assign(new Error(error.message), { code: error.code }));
      else resolve(ok);
    });
    this.count = 0;
  }

  // Resolves with what the client answers; rejects with the hub's name for the error as its code, if it has one.
  call(what, parameters) {
    this.count += 1;
    const id = this.count;
    const answer = new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.process.stdin.write(`${JSON.stringify({ id, do: what, ...parameters })}\n`);
    return answer;
  }

  close() {
    this.process.stdin.end();
  }
}

module.exports = { Peer };
