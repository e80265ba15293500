import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { ScratchContender } from './scratch-contender.ts';

const run = promisify(execFile);

/** How it moves bytes: by copying, by copying until it guesses that splicing pays, or by splicing always. */
export const haproxyModes = {
  copies: { name: 'HAProxy', option: '' },
  auto: { name: 'HAProxy, splice-auto', option: 'option splice-auto' },
  splices: {
    name: 'HAProxy, always splicing',
    option: 'option splice-request\n  option splice-response',
  },
} as const;

/** Bytes that one has sent, and of these those that it did not copy. */
export interface HaproxyBytes {
  readonly sent: number;
  readonly spliced: number;
}

/** @param tell what it moved, when it is stopped. */
export const haproxy = (
  mode: keyof typeof haproxyModes,
  tell: (name: string, bytes: HaproxyBytes) => void,
): ScratchContender =>
  new ScratchContender({
    name: haproxyModes[mode].name,
    template: 'haproxy.cfg',
    version: async () => {
      const { stdout } = await run('haproxy', ['-vv']);
      if (!stdout.includes('+LINUX_SPLICE')) throw new Error('this HAProxy was built without splice');
      return `HAProxy ${/version (\S+)/.exec(stdout)?.[1] ?? 'unknown'}`;
    },
    command: ({ file }) => ['haproxy', '-q', '-db', '-f', file],
    setup: async (folder) => ({
      values: { SCRATCH: folder, THREADS: 1, BUFSIZE: 262_144, SPLICE: haproxyModes[mode].option },
    }),
    beforeStop: async (folder) => tell(haproxyModes[mode].name, await bytesOf(folder)),
  });

async function bytesOf(folder: string): Promise<HaproxyBytes> {
  const socket = connect(join(folder, 'stats.sock'));
  await once(socket, 'connect');
  socket.write('show info\n');
  const info = await text(socket);
  // HAProxy 2.6 spells it so; later ones may not
  const spliced = /^TotalSpl\w*BytesOut: (\d+)$/im.exec(info)?.[1];
  const sent = /^TotalBytesOut: (\d+)$/m.exec(info)?.[1];
  if (sent === undefined || spliced === undefined) {
    throw new Error('HAProxy does not say how many bytes it spliced');
  }
  return { sent: Number(sent), spliced: Number(spliced) };
}
