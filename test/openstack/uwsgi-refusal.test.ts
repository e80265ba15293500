import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Gateway } from './support/gateway.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { RefusingUwsgi } from './support/refusing-uwsgi.ts';
import { framed, framings, MiB, Upload } from './support/upload.ts';

const bytes = 20 * MiB;
const uploads = 100;

describe("uWSGI's refusal, after which it closes at once, reaches a client that is still sending", () => {
  let uwsgi: RefusingUwsgi;
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    uwsgi = await RefusingUwsgi.start();
    gateway = await Gateway.start({ upstream: uwsgi.origin });
    owner = await newOwner();
  });
  after(async () => {
    await gateway.stop();
    await uwsgi.stop();
  });

  for (const status of [413, 401]) {
    for (const framing of framings) {
      it(`${status}, for at least 99 of ${uploads} clients (${framing})`, async () => {
        let heard = 0;
        for (let each = 0; each < uploads; each += 1) {
          const upload = await Upload.begin({
            ...{ origin: gateway.origin, owner, imageId: randomUUID(), ...framed(framing, bytes) },
            headers: { 'X-Refuse': String(status) },
          });
          await upload.send(bytes);
          const answer = await upload.answer.catch(() => null);
          if (answer?.status === status && answer.body.toString() === `uWSGI says ${status}`) heard += 1;
          upload.client.destroy();
        }
        assert.ok(heard >= 99, `${heard} of ${uploads} heard it`);
        assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 });
      });
    }
  }
});
