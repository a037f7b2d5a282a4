// What scripts ask of the emulator itself: what happened in it, and what is to happen.
'use strict';

const assert = require('assert');
const { ready } = require('./hub');

async function call(method, path, body) {
  const headers = { authorization: `Bearer ${ready.managementToken}` };
  const answer = await fetch(ready.managementEndpoint + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

// The number of the newest entry of the journal.
async function now() {
  let since = 0;
  for (;;) {
    const { last } = await call('GET', `/journal?since=${since}&limit=10000`);
    if (last === since) return since;
    since = last;
  }
}

// Resolves with the events of this kind after entry `since`, when there are so many.
async function events(since, count, isWanted) {
  const found = [];
  const deadline = Date.now() + 60_000;
  for (let last = since; found.length < count; ) {
    assert.ok(Date.now() < deadline, `${found.length} events came, not ${count}`);
    const part = await call('GET', `/journal?since=${last}&wait=5`);
    found.push(...part.entries.map((entry) => entry.event).filter(isWanted));
    last = part.last;
  }
  return found;
}

const advance = (time) => call('POST', '/clock', { advance: time });

module.exports = { now, events, advance };
