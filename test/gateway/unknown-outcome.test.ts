import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

describe('an upload whose upstream vanishes after the last byte', () => {
  for (const [status, answer] of [
    ['active', '200 OK'],
    ['queued', '200 OK'],
    ['gone', '404 Not Found'],
  ] as const) {
    it(`stays counted until its image is ${status}`, async () => {
      let decided = false;
      const upstream = await ScriptedUpstream.start(async (connection) => {
        if (connection.head.startsWith('PUT')) {
          await connection.bodyComplete();
          connection.reset();
        } else {
          const body = JSON.stringify({ status: decided ? status : 'saving', size: null });
          connection.answer(`${decided ? answer : '200 OK'}\r\nConnection: close`, body);
          connection.end();
        }
      });
      const sluice = await TestGateway.start(upstream.port, {
        quota: { limits: [{ per: 'user', saving: 100 }], usage: { source: 'none' } },
        upload: { watch_interval: 0, unknown_confirm: '100ms' },
      });
      try {
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), 'Content-Length: 60'));
        await client.write(Buffer.alloc(60));
        assert.equal((await client.response()).status, 502);
        assert.equal(sluice.gateway.uploadsUnderWay, 0);
        assert.equal(sluice.gateway.savingBytes, 60);
        const metrics = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text();
        assert.equal(metrics.includes('sluice_uploads_total{ending="unknown"} 1\n'), true);
        assert.equal(metrics.includes('sluice_uploads_unresolved 1\n'), true);
        decided = true;
        await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the image has said it');
      } finally {
        await sluice.stop();
        await upstream.stop();
      }
    });
  }
});

describe('an upload of unknown outcome', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  /** What the API says of the image; null: nothing that could be understood. */
  let says: string | null;
  let looks: number;
  const start = async (upload: NonNullable<WrittenOptions['upload']>): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, {
      quota: { limits: [{ per: 'user', saving: 100 }], usage: { source: 'none' } },
      upload: { watch_interval: 0, ...upload },
    });
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 60'));
    await client.write(Buffer.alloc(60));
    assert.equal((await client.response()).status, 502);
    assert.equal(sluice.gateway.savingBytes, 60);
  };
  const lookedAgain = async (times: number): Promise<void> => {
    const before = looks;
    await eventually(() => looks >= before + times, `${times} more looks`);
  };

  beforeEach(async () => {
    looks = 0;
    upstream = await ScriptedUpstream.start(async (connection) => {
      if (connection.head.startsWith('PUT')) {
        await connection.bodyComplete();
        return connection.reset();
      }
      looks += 1;
      const body = JSON.stringify({ status: says, size: null });
      connection.answer(`${says === null ? '503 Busy' : '200 OK'}\r\nConnection: close`, body);
      connection.end();
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  it('is not believed to be not stored the first time: the API may only get to it now', async () => {
    says = 'queued';
    await start({ unknown_confirm: '1h' });
    await lookedAgain(2);
    assert.equal(sluice.gateway.savingBytes, 60);
    says = 'active';
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'it was stored after all');
  });

  it('is held for ever while the API says that its data is coming in', async () => {
    says = 'saving';
    await start({ unknown_hold: '300ms', unknown_confirm: '100ms' });
    await lookedAgain(3);
    assert.equal(sluice.gateway.savingBytes, 60);
    says = 'queued';
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'it was not stored');
  });

  it('is given up when the API says nothing for unknown_hold', async () => {
    says = null;
    await start({ unknown_hold: '300ms' });
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'it was given up');
  });
});

/** An upload of 60 bytes to an API that has one answer for uploads, and says of their image what `image.status` is. */
async function afterUpload(
  answer: string,
  bytes: number,
  check: (sluice: TestGateway, image: { status: string }, status: number) => Promise<void>,
): Promise<void> {
  const image = { status: 'saving' };
  const upstream = await ScriptedUpstream.start(async (connection: UpstreamConnection) => {
    if (connection.head.startsWith('PUT')) {
      await connection.received(bytes);
      connection.answer(answer, 'what the API says');
    } else {
      connection.answer('200 OK\r\nConnection: close', JSON.stringify({ ...image, size: null }));
      connection.end();
    }
  });
  const sluice = await TestGateway.start(upstream.port, {
    quota: { limits: [{ per: 'user', saving: 100 }], usage: { source: 'none' } },
    upload: { watch_interval: 0, unknown_confirm: '100ms' },
  });
  try {
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 60'));
    await client.write(Buffer.alloc(bytes));
    const { status, body } = await client.response();
    assert.equal(body.toString(), 'what the API says');
    assert.equal(sluice.gateway.uploadsUnderWay, 0);
    await check(sluice, image, status);
  } finally {
    await sluice.stop();
    await upstream.stop();
  }
}

describe('an upload that the API answers after its last byte', () => {
  for (const [status, answer] of [
    [500, '500 Internal Server Error'],
    [502, '502 Bad Gateway'],
    [599, '599 Whatever'],
    [202, '202 Accepted'],
    [299, '299 Whatever'],
  ] as const) {
    for (const becomes of ['queued', 'active']) {
      it(`with ${status} stays counted until its image is ${becomes}, and the client reads ${status}`, () =>
        afterUpload(answer, 60, async (sluice, image, told) => {
          assert.equal(told, status);
          assert.equal(sluice.gateway.savingBytes, 60);
          const metrics = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text();
          assert.equal(metrics.includes('sluice_uploads_total{ending="unknown"} 1\n'), true);
          image.status = becomes;
          await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the image has said it');
        }));
    }
  }

  for (const answer of [
    '400 Bad Request',
    '409 Conflict',
    '413 Too Large',
    '499 Whatever',
    '303 See Other',
  ]) {
    it(`with ${answer} gives its bytes back at once`, () =>
      afterUpload(answer, 60, async (sluice) => assert.equal(sluice.gateway.savingBytes, 0)));
  }

  it('with 500 before its last byte gives its bytes back at once: a cut body is not stored', () =>
    afterUpload('500 Internal Server Error', 59, async (sluice) =>
      assert.equal(sluice.gateway.savingBytes, 0),
    ));
});
