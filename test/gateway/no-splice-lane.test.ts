import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { preflight } from '../../src/config/preflight.ts';
import { KiB } from '../../src/core/units.ts';
import { loaded, printed, type Scratch, scratch } from '../config/scratch.ts';
import { certified } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import { type Script, ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

/** Makes a process one of a machine for which there is no koffi. */
const withoutKoffi = `
  import { register } from 'node:module';
  const resolve = (name, context, next) => {
    if (name === 'koffi') throw new Error('no koffi for this machine');
    return next(name, context);
  };
  register('data:text/javascript,' + encodeURIComponent('export const resolve = ' + resolve));
`;

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

const reason = 'Cannot find the native module for this machine';
const cannotStart = (): Promise<never> => Promise.reject(new Error(reason));

const stores: Script = async (connection) => {
  await connection.bodyComplete();
  connection.answer('204 No Content');
};

describe('where there is no splice lane', () => {
  let upstream: ScriptedUpstream;
  let log: LogLines;

  beforeEach(async () => {
    log = new LogLines();
    upstream = await ScriptedUpstream.start(stores);
  });
  afterEach(() => upstream.stop());

  describe('auto', () => {
    let sluice: TestGateway;

    beforeEach(async () => {
      const upload = { lane: 'auto', splice_from: 0, watch_interval: 0 } as const;
      const quota = { mode: 'off', usage: { source: 'none' } } as const;
      sluice = await TestGateway.start(upstream.port, { quota, upload }, log, cannotStart);
    });
    afterEach(() => sluice.stop());

    for (const fields of ['Content-Length: 102400', 'Transfer-Encoding: chunked']) {
      it(`streams (${fields})`, async () => {
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), fields));
        const chunked = fields.startsWith('Transfer');
        await (chunked ? client.chunk(Buffer.alloc(100 * KiB)) : client.write(Buffer.alloc(50 * KiB)));
        await eventually(async () => assert.equal((await sluice.uploads())[0]?.lane, 'stream'));
        await (chunked ? client.chunk('') : client.write(Buffer.alloc(50 * KiB)));
        assert.equal((await client.response()).status, 204);
      });
    }

    it('says why at the start, at level info and once, and shows 0', async () => {
      const said = log.said('bodies are streamed: no splice lane here');
      assert.deepEqual(
        said.map((line) => [line.level, line.reason]),
        [['info', reason]],
      );
      assert.equal(await sluice.metric('sluice_splice_lane_up'), 0);
    });
  });

  describe('splice', () => {
    let files: Scratch;

    before(() => {
      files = scratch();
    });
    after(() => files.remove());

    it('does not start, and leaves nothing listening', async () => {
      const started = TestGateway.start(upstream.port, { upload: { lane: 'splice' } }, log, cannotStart);
      await assert.rejects(started, { message: `upload.lane: splice cannot be had: ${reason}` });
      assert.deepEqual(log.said('serving'), []);
    });

    it('is an error of the configuration, with its place', async () => {
      const yaml = `upstream: { servers: ["http://127.0.0.1:${upstream.port}"] }\nupload:\n  lane: splice\n`;
      const config = loaded(files.write('sluice.yaml', yaml));
      assert.deepEqual(printed(await preflight(config, { ports: false, startEngine: cannotStart })), [
        `sluice.yaml:3:9: upload.lane: it cannot be had: ${reason}`,
      ]);
    });

    it('is one too where a listener has TLS, whose bytes the kernel does not see', async () => {
      const { cert, key } = certified('server');
      const listens = `listen: [{ address: "127.0.0.1:0", tls: { cert: ${cert}, key: ${key} } }]`;
      const config = loaded(files.write('tls.yaml', `${listens}\nupload: { lane: splice }\n`));
      assert.deepEqual(printed(await preflight(config, { ports: false })), [
        'tls.yaml:2:17: upload.lane: a listener has TLS, whose bytes the kernel does not see: auto splices the others',
      ]);
    });

    it('ends `sluice check` with status 1, on a machine without koffi', async () => {
      const yaml = `upstream: { servers: ["http://127.0.0.1:${upstream.port}"] }\nupload: { lane: splice }\n`;
      const file = files.write('check.yaml', yaml);
      const hook = files.write('no-koffi.mjs', withoutKoffi);
      const program = ['--import', 'tsx', '--import', hook, mainFile, 'check', '-c', file];
      const ended = await promisify(execFile)(process.execPath, program).then(
        () => null,
        (error: { readonly code: number; readonly stderr: string }) => error,
      );
      assert.equal(ended?.code, 1);
      assert.equal(ended?.stderr, `${file}:2:17: upload.lane: it cannot be had: no koffi for this machine\n`);
    });
  });
});
