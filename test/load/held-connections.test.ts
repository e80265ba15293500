import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';
import { LoadedGateway } from './support/loaded-gateway.ts';

const connections = 9_000;
/** Opened at once, so that the listener's queue is never full. */
const together = 100;

describe(`${connections} connections that are held`, () => {
  let gateway: LoadedGateway;
  beforeEach(async () => {
    gateway = await LoadedGateway.start();
  });
  afterEach(() => gateway.stop());

  it('half of them silent, half with a part of a head, leave others served', async () => {
    const beforeBytes = await gateway.residentBytesOfLive();
    const clients: RawClient[] = [];
    while (clients.length < connections) {
      const some = await Promise.all(Array.from({ length: together }, () => RawClient.connect(gateway.port)));
      for (const client of some.slice(together / 2))
        await client.write('GET /v2/images HTTP/1.1\r\nHost: im');
      clients.push(...some);
    }
    await eventually(async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text();
      return new RegExp(`^sluice_connections ${connections}$`, 'm').test(metrics);
    }, 'all of them are open');
    const eachBytes = ((await gateway.residentBytesOfLive()) - beforeBytes) / connections;
    const stopProbing = gateway.probe();
    await sleep(3_000);
    const { failures, answered, longestMs } = await stopProbing();
    console.log(
      `      ${(eachBytes / KiB).toFixed(1)} KiB each; ${answered} others served, the slowest in ${longestMs} ms`,
    );
    assert.deepEqual(failures, []);
    assert.equal(answered > 0, true);
    for (const client of clients.slice(0, together)) {
      await client.request('GET /v2/images HTTP/1.1', 'Host: x');
    }
    // the first of them were silent until now
    for (const client of clients.slice(0, together / 2)) assert.equal((await client.response()).status, 200);
    for (const client of clients) client.destroy();
    assert.equal(await gateway.terminate(), 0);
  });
});
