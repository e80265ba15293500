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
import { glanceOrigin, stackDirectory } from './support/stack.ts';

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
    // these clients know tokens only, so everybody is one owner here
    gateway = await Gateway.start({ upstream: tap.origin, identity: 'none' });
    await pointImageServiceAt(gateway.origin);
    owner = await newOwner();
    directory = await mkdtemp(join(stackDirectory, 'clients-'));
    file = join(directory, 'image');
    const body = new Body(16e6);
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
    const format = ['--disk-format', 'raw', '--container-format', 'bare', '-f', 'json'];
    const printed = await succeed('openstack', 'image', 'create', '--file', file, ...format, 'by-openstack');
    const { id } = recordWithId.parse(JSON.parse(printed));
    await assertStoredThroughTheGateway(id);

    const copy = join(directory, 'saved');
    await succeed('openstack', 'image', 'save', '--file', copy, id);
    await assertDownloadedThroughTheGateway(id, copy);
  });

  it('glance image-create --file, then glance image-download', async () => {
    const format = ['--disk-format', 'raw', '--container-format', 'bare'];
    const printed = await succeed('glance', 'image-create', '--name', 'by-glance', '--file', file, ...format);
    const id = z.string().parse(/\| id +\| (\S+)/.exec(printed)?.[1]);
    await assertStoredThroughTheGateway(id);

    const copy = join(directory, 'downloaded');
    await succeed('glance', 'image-download', '--file', copy, id);
    await assertDownloadedThroughTheGateway(id, copy);
  });

  it('glance image-upload', async () => {
    const id = await createImage(glanceOrigin, owner);
    await succeed('glance', 'image-upload', '--file', file, id);
    await assertStoredThroughTheGateway(id);
  });

  it('curl -T, which asks with Expect: 100-continue before it sends', async () => {
    const id = await createImage(glanceOrigin, owner);
    const headers = { ...identityHeaders(owner), 'Content-Type': 'application/octet-stream' };
    const headerArgs = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
    const url = `${gateway.origin}/v2/images/${id}/file`;
    const { stdout, stderr } = await runAs(owner, 'curl', [
      ...['-sv', '--noproxy', '*', '-T', file, '-H', 'Expect: 100-continue', ...headerArgs],
      // curl sends anyway after a second; the wait is made longer so that only an answer can start it
      ...['--expect100-timeout', '30', '-w', '%{http_code}', url],
    ]);
    assert.equal(stdout, '204');
    assert.match(stderr, /< HTTP\/1\.1 100 Continue/);
    await assertStoredThroughTheGateway(id);
  });
});
