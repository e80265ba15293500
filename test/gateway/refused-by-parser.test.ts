import assert from 'node:assert/strict';
import { ConnectionPool } from '../../src/http/connection-pool.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('a connection whose answer needs a parser that refuses the request', () => {
  it('is reset, not left open', async () => {
    const upstream = await ScriptedUpstream.start((connection) =>
      connection.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    );
    const pool = new ConnectionPool(
      {
        origin: new URL(`http://127.0.0.1:${upstream.port}`),
        connectTimeoutMs: 2_000,
        responseTimeoutMs: 0,
        idleTimeoutMs: 60_000,
      },
      () => {},
    );
    try {
      // a field that undici takes from nobody
      const headers = ['Host', 'images', 'Keep-Alive', 'timeout=5'];
      const attempt = await pool.send({ method: 'GET', target: '/', headers, body: null }, undefined);
      assert.ok('error' in attempt);
      assert.equal(await upstream.connections[0]?.closed, 'reset');
    } finally {
      pool.destroy();
      await upstream.stop();
    }
  });
});
