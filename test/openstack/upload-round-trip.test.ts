import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Body, digest } from './support/body.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance } from './support/image.ts';
import { identityHeaders, newOwner, type Owner } from './support/owner.ts';

const MB = 1e6;

async function put(url: string, owner: Owner, body: Body, headers: Record<string, string>): Promise<number> {
  const upload = request(url, {
    method: 'PUT',
    headers: { ...identityHeaders(owner), 'Content-Type': 'application/octet-stream', ...headers },
  });
  const answer: Promise<[IncomingMessage]> = once(upload, 'response') as never;
  await pipeline(Readable.from(body.blocks()), upload);
  const [response] = await answer;
  response.resume();
  return response.statusCode ?? 0;
}

describe('100 MB go through the gateway into Glance and come back the same', () => {
  let gateway: Gateway;
  let owner: Owner;
  const body = new Body(100 * MB);

  before(async () => {
    gateway = await Gateway.start({ quota: '10GiB' });
    owner = await newOwner();
  });
  after(() => gateway.stop());

  const framings: Readonly<Record<string, Record<string, string>>> = {
    'by Content-Length': { 'Content-Length': String(body.bytes) },
    'in chunks, the length not told': { 'Transfer-Encoding': 'chunked' },
    'in chunks, the length told by x-openstack-image-size': {
      'Transfer-Encoding': 'chunked',
      'x-openstack-image-size': String(body.bytes),
    },
  };
  for (const [name, headers] of Object.entries(framings)) {
    it(name, async () => {
      const sent = await body.digest();
      const imageId = await createImage(gateway.origin, owner);
      const url = `${gateway.origin}/v2/images/${imageId}/file`;

      assert.equal(await put(url, owner, body, headers), 204);

      const image = await imageInGlance(owner, imageId);
      assert.equal(image?.status, 'active');
      assert.equal(image?.size, body.bytes);
      assert.equal(image?.checksum, sent.md5);
      assert.equal(image?.os_hash_algo, 'sha512');
      assert.equal(image?.os_hash_value, sent.sha512);
      const download = await fetch(url, { headers: identityHeaders(owner) });
      assert.equal(download.status, 200);
      assert.ok(download.body);
      assert.deepEqual(await digest(Readable.fromWeb(download.body as never)), sent);
      assert.equal((await gateway.uploads()).saving_bytes, 0);
    });
  }
});
