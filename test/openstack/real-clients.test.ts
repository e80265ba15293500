import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Body, type Digest, digest } from './support/body.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance } from './support/image.ts';
import { pointImageServiceAt } from './support/keystone.ts';
import { identityHeaders, newOwner, type Owner } from './support/owner.ts';
import { runAs } from './support/program.ts';
import { publish } from './support/secrets.ts';
import { glanceOrigin, stackDirectory } from './support/stack.ts';
import { MiB, putNew } from './support/upload.ts';

const imageBytes = 16e6;
const quotaBytes = 128 * MiB;

const format = ['--disk-format', 'raw', '--container-format', 'bare'];
const recordWithId = z.object({ id: z.string() });

describe('unchanged clients upload and download through the gateway', () => {
  let tap: CountingTap;
  let gateway: Gateway;
  let owner: Owner;
  let directory: string;
  let file: string;
  let sent: Digest;

  before(async () => {
    tap = await CountingTap.start(glanceOrigin);
    gateway = await Gateway.start({ upstream: tap.origin, quota: `${quotaBytes}B` });
    await pointImageServiceAt(gateway.origin);
    owner = await newOwner();
    directory = await mkdtemp(join(stackDirectory, 'clients-'));
    file = join(directory, 'image');
    const body = new Body(imageBytes);
    sent = await body.digest();
    await writeFile(file, body.blocks());
  });
  after(async () => {
    await pointImageServiceAt(glanceOrigin);
    await gateway.stop();
    await tap.stop();
    await rm(directory, { recursive: true });
  });

  async function succeed(command: string, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await runAs(owner, command, args);
    assert.equal(status, 0, `${command} ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }

  async function assertStoredThroughTheGateway(imageId: string): Promise<void> {
    const image = await imageInGlance(owner, imageId);
    assert.equal(image?.status, 'active');
    assert.equal(image?.checksum, sent.md5);
    assert.equal(image?.os_hash_value, sent.sha512);
    const uploads = tap.seen('PUT', `/v2/images/${imageId}/file`);
    assert.deepEqual(
      uploads.map(({ bodyBytes }) => bodyBytes),
      [sent.bytes],
    );
  }

  async function assertDownloadedThroughTheGateway(imageId: string, path: string): Promise<void> {
    assert.deepEqual(await digest(createReadStream(path)), sent);
    assert.equal(tap.seen('GET', `/v2/images/${imageId}/file`).length, 1);
  }

  it('openstack image create --file, then openstack image save', async () => {
    const args = ['image', 'create', '--file', file, ...format, '-f', 'json', 'by-openstack'];
    const printed = await succeed('openstack', ...args);
    const { id } = recordWithId.parse(JSON.parse(printed));
    await assertStoredThroughTheGateway(id);

    const copy = join(directory, 'saved');
    await succeed('openstack', 'image', 'save', '--file', copy, id);
    await assertDownloadedThroughTheGateway(id, copy);
  });

  it('glance image-create --file, then glance image-download', async () => {
    const printed = await succeed('glance', 'image-create', '--name', 'by-glance', '--file', file, ...format);
    const id = idIn(printed);
    await assertStoredThroughTheGateway(id);

    const copy = join(directory, 'downloaded');
    await succeed('glance', 'image-download', '--file', copy, id);
    await assertDownloadedThroughTheGateway(id, copy);
  });

  it('glance image-create without a file, then image-upload and image-download, each with a progress bar', async () => {
    // on a terminal: from any other standard input it takes the data, and to any other output it draws no bar
    const onTerminal = (...args: string[]): Promise<string> =>
      succeed('script', '-qec', ['glance', ...args].join(' '), '/dev/null');
    const id = idIn(await onTerminal('image-create', '--name', 'empty', ...format));
    assert.equal((await imageInGlance(owner, id))?.status, 'queued');

    assert.match(await onTerminal('image-upload', '--progress', '--file', file, id), /\[=+>\] 100%/);
    await assertStoredThroughTheGateway(id);
    const copy = join(directory, 'with-progress');
    assert.match(await onTerminal('image-download', '--progress', '--file', copy, id), /\[=+>\] 100%/);
    await assertDownloadedThroughTheGateway(id, copy);
  });

  it('glance image-upload', async () => {
    const id = await createImage(glanceOrigin, owner);
    await succeed('glance', 'image-upload', '--file', file, id);
    await assertStoredThroughTheGateway(id);
  });

  it('curl -T, which asks with Expect: 100-continue before it sends', async () => {
    const id = await createImage(glanceOrigin, owner);
    const url = `${gateway.origin}/v2/images/${id}/file`;
    const { stdout, stderr } = await runAs(owner, 'curl', [
      ...['-sv', '--noproxy', '*', '-T', file, '-H', 'Expect: 100-continue', ...headerArgs(owner)],
      // curl sends anyway after a second; the wait is made longer so that only an answer can start it
      ...['--expect100-timeout', '30', '-w', '%{http_code}', url],
    ]);
    assert.equal(stdout, '204');
    assert.match(stderr, /< HTTP\/1\.1 100 Continue/);
    await assertStoredThroughTheGateway(id);
  });

  describe('over the quota', () => {
    let full: Owner;

    before(async () => {
      full = await newOwner();
      assert.equal((await putNew(gateway.origin, full, quotaBytes - imageBytes + 1)).status, 204);
    });

    /** What the user reads: our reason, and no failure of the client itself. */
    async function assertTold(command: string, ...args: string[]): Promise<void> {
      const { status, stdout, stderr } = await runAs(full, command, args);
      const output = `${stderr}${stdout}`;
      publish(`what ${command} prints`, output);
      assert.notEqual(status, 0, output);
      assert.doesNotMatch(output, /Traceback/);
      assert.match(output, /413/);
      assert.ok(
        output.includes(
          `project:${full.projectId} may store ${quotaBytes} bytes; ${imageBytes - 1} remain, ` +
            `${imageBytes} more were asked for.`,
        ),
        output,
      );
    }

    it('openstack image create says why, and not with a traceback', async () => {
      await assertTold('openstack', 'image', 'create', '--file', file, ...format, 'too-much');
    });

    it('glance image-upload of a file says why, and not with a traceback', async () => {
      const id = await createImage(glanceOrigin, full);
      const { status, stdout, stderr } = await runAs(full, 'glance', ['image-upload', '--file', file, id]);
      const output = `${stderr}${stdout}`;
      publish('what glance prints', output);
      assert.notEqual(status, 0, output);
      assert.doesNotMatch(output, /Traceback/);
      assert.match(output, / may store \d+ bytes; 0 remain, \d+ more were asked for\./);
      assert.deepEqual(
        tap.seen('PUT', id).filter(({ bodyBytes }) => bodyBytes >= imageBytes),
        [],
      );
    });

    it('curl -T with Expect: 100-continue is told 413 and never to continue', async () => {
      const id = await createImage(glanceOrigin, full);
      const { stdout, stderr } = await runAs(full, 'curl', [
        ...['-sv', '--noproxy', '*', '-T', file, '-H', 'Expect: 100-continue', ...headerArgs(full)],
        ...['--expect100-timeout', '30', '-w', '%{http_code}', `${gateway.origin}/v2/images/${id}/file`],
      ]);
      assert.match(stdout, /quota-exceeded.*413$/s);
      assert.doesNotMatch(stderr, /100 Continue/);
      assert.deepEqual(tap.seen('PUT', id), []);
    });
  });
});

const idIn = (printed: string): string => z.string().parse(/\| id +\| (\S+)/.exec(printed)?.[1]);

/** What curl sends to upload as `owner`. */
function headerArgs(owner: Owner): string[] {
  const headers = { ...identityHeaders(owner), 'Content-Type': 'application/octet-stream' };
  return Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
}
