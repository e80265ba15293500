import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk, glanceOrigin } from './support/stack.ts';
import { KiB, problemCode, Upload } from './support/upload.ts';

/** SLUICE_TEST_DELETES says how many: a thousand take up to one and a half minutes. */
const count = Number(process.env.SLUICE_TEST_DELETES ?? 200);
const concurrency = 20;
const pieceBytes = 64 * KiB;
const mostPieces = 16;
/** From one piece to the next on average: a body takes longer than Glance does to take it and to answer. */
const pieceMs = 60;

/** Far more than a delete may take, and less than for ever. */
const boundMs = 5_000;

/** How an upload ended for its client; the last two are Glance's, when the delete came before or just as it began. */
const possible = new Set([204, 410, 404, 409]);

interface Raced {
  readonly status: number;
  /** True if the gateway ended it, and not Glance. */
  readonly cancelled: boolean;
  /** From the deleter's 204 to the end of the upload's connection to Glance, and to the end of its file; 0 = before. */
  readonly connectionMs: number;
  readonly fileMs: number;
}

describe(`${count} random deletes of small uploads, ${concurrency} at once`, () => {
  let tap: CountingTap;
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    tap = await CountingTap.start(glanceOrigin);
    gateway = await Gateway.start({ upstream: tap.origin, quota: '1GiB' });
    owner = await newOwner();
  });
  after(async () => {
    await gateway.stop();
    await tap.stop();
  });

  async function race(): Promise<Raced> {
    const { origin } = gateway;
    const imageId = await createImage(origin, owner);
    const pieces = 1 + Math.floor(Math.random() * mostPieces);
    const known = Math.random() < 0.5;
    const upload = await Upload.begin({
      ...{ origin, owner, imageId },
      ...(known ? { contentLength: pieces * pieceBytes } : {}),
    });
    const sending = (async () => {
      for (let i = 0; i < pieces && upload.answered === null; i += 1) {
        await upload.send(pieceBytes);
        await sleep(Math.random() * 2 * pieceMs);
      }
    })();
    const uploading = sending.then(() => upload.finish());
    // at any moment, from before the upload is at Glance to after it is stored: most in the middle of it, some about its end
    const moment = Math.random();
    if (moment > 0.15) await eventually(() => tap.seen('PUT', imageId).length > 0);
    if (moment > 0.75) await sending;
    if (moment > 0.9) await uploading;
    await sleep(Math.random() * pieces * pieceMs);
    assert.equal(await deleteImage(origin, owner, imageId), 204);
    const deletedMs = performance.now();
    const fileGone = eventually(
      async () => (await bytesOnDisk('glance/images', imageId)) === null && performance.now(),
    );
    const answer = await uploading;
    const { status } = answer;
    assert.ok(possible.has(status), `an upload ended with ${status}`);
    const goneMs = await fileGone;
    const endedMs = await eventually(() => {
      const puts = tap.seen('PUT', imageId).map(({ endedAtMs }) => endedAtMs ?? Infinity);
      const lastMs = Math.max(0, ...puts);
      return lastMs < Infinity && lastMs;
    }, 'the upload goes on at Glance');
    assert.equal(await statusInGlance(owner, imageId), null);
    upload.client.destroy();
    return {
      status,
      cancelled: problemCode(answer) === 'image-deleted',
      connectionMs: Math.max(0, endedMs - deletedMs),
      fileMs: Math.max(0, goneMs - deletedMs),
    };
  }

  it('each upload ends, is given back once, and leaves nothing', async function () {
    this.timeout(600_000);
    const raced: Raced[] = [];
    let begun = 0;
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (begun < count) {
          begun += 1;
          raced.push(await race());
        }
      }),
    );

    await eventually(async () => assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 }));
    assert.equal(await gateway.metric('sluice_saving_bytes'), 0);
    assert.equal(await gateway.metric('sluice_uploads_unresolved'), 0);
    assert.equal(await gateway.metricSum('sluice_uploads_total'), count);
    const cancelled = raced.filter((each) => each.cancelled);
    assert.ok(cancelled.length > 0, 'no upload was ended by its delete');
    const worstMs = Math.max(...cancelled.map(({ connectionMs }) => connectionMs));
    const worstFileMs = Math.max(...raced.map(({ fileMs }) => fileMs));
    const told = [...possible].map(
      (each) => `${each}: ${raced.filter(({ status }) => status === each).length}`,
    );
    if (this.test) {
      this.test.title +=
        ` (${told.join(', ')}; ${cancelled.length} ended by the gateway, whose connection to Glance was down ` +
        `${worstMs.toFixed(1)} ms after the deleter's 204 at worst; every file gone after ${worstFileMs.toFixed(1)} ms)`;
    }
    assert.ok(worstMs < boundMs && worstFileMs < boundMs, `${worstMs} ms, ${worstFileMs} ms`);
  });
});
