import assert from 'node:assert/strict';
import { once } from 'node:events';
import { GatewayError } from '../../src/core/errors.ts';
import { Carriage } from '../support/carriage.ts';

/** The last bytes of a body: far too few for Node to say that the socket is full. */
const tail = 'the end';

describe('a body whose last bytes the upstream does not take', () => {
  let carriage: Carriage;

  afterEach(() => carriage.end());

  for (const framing of ['Content-Length', 'chunked'] as const) {
    for (const leaves of [false, true]) {
      it(`is given up after chunk_timeout (${framing}${leaves ? ', the client has left since' : ''})`, async () => {
        const declaredBytes = framing === 'chunked' ? null : tail.length;
        carriage = await Carriage.begin(declaredBytes, { flushAfterMs: 1_000, chunkTimeoutMs: 100 });
        const { client, request } = carriage;
        const carried = carriage.carry();
        const ended = leaves ? once(request, 'end') : null;
        await carriage.send(tail);
        if (framing === 'chunked') await client.chunk('');
        await ended;
        if (leaves) client.reset();
        const error = await carried;
        assert.ok(error instanceof GatewayError, 'it ended');
        assert.equal(error.code, 'upstream-stalled');
      });
    }
  }
});
