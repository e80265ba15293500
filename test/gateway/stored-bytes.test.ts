import assert from 'node:assert/strict';
import { GatewayError } from '../../src/core/errors.ts';
import type { Fetched } from '../../src/http/ask.ts';
import { GlanceUsage } from '../../src/usage/glance.ts';
import { KnownImages } from '../../src/usage/known-images.ts';
import type { Caller } from '../../src/usage/usage.ts';

const MiB = 1024 * 1024;
const caller: Caller = { headers: ['X-Auth-Token', 't'], project: 'blue' };

interface FakeImage {
  readonly id: string;
  readonly size: number | null;
  readonly status?: string;
  readonly owner?: string;
  readonly stores?: string;
  hidden?: boolean;
}

/** A Glance that is asked in this process, and whose images can change between two questions. */
class FakeGlance {
  images: FakeImage[] = [];
  readonly asked: string[] = [];
  /** Stored and staged, in MiB; null: unified limits are off. */
  usageMiB: readonly [number, number] | null = null;
  /** Called before each question is answered. */
  meanwhile: (target: string) => void = () => {};

  readonly ask = async (target: string): Promise<Fetched> => {
    this.asked.push(target);
    this.meanwhile(target);
    const url = new URL(target, 'http://glance');
    if (url.pathname === '/v2/info/usage') {
      const [stored = 0, staged = 0] = this.usageMiB ?? [];
      const figures = {
        image_size_total: { limit: -1, usage: stored },
        image_stage_total: { limit: -1, usage: staged },
      };
      const usage = this.usageMiB === null ? {} : figures;
      return fetched(200, { usage });
    }
    const id = /^\/v2\/images\/(.+)$/.exec(url.pathname)?.[1];
    if (id !== undefined) {
      const image = this.images.find((each) => each.id === id);
      return image === undefined ? fetched(404, {}) : fetched(200, record(image));
    }
    const hidden = url.searchParams.get('os_hidden') === 'true';
    const listed = this.images.filter((image) => (image.hidden ?? false) === hidden);
    const marker = url.searchParams.get('marker');
    const from = marker === null ? 0 : listed.findIndex((each) => each.id === marker) + 1;
    const page = listed.slice(from, from + 2);
    const last = page.at(-1);
    const more = last !== undefined && from + 2 < listed.length;
    return fetched(200, {
      images: page.map(record),
      ...(more && { next: `/v2/images?os_hidden=${hidden}&marker=${last.id}` }),
    });
  };
}

const record = ({ id, size, status = 'active', owner = 'blue', stores }: FakeImage): object => ({
  ...{ id, size, status, owner },
  ...(stores !== undefined && { stores }),
});
const fetched = (status: number, document: object): Fetched => ({
  status,
  headers: [],
  body: Buffer.from(JSON.stringify(document)),
});

describe('the stored bytes of a project', () => {
  let glance: FakeGlance;
  let known: KnownImages;
  let usage: GlanceUsage;
  const exact = (): Promise<number> => usage.storedBytes('blue', caller, 'exact');

  beforeEach(() => {
    glance = new FakeGlance();
    known = new KnownImages();
    usage = new GlanceUsage(glance.ask, known);
  });

  it('are the sizes of its images times their stores, over all pages, hidden ones too', async () => {
    glance.images = [
      { id: 'a', size: 1 },
      { id: 'b', size: 10, stores: 'fast,slow' },
      { id: 'c', size: 100, hidden: true },
      { id: 'd', size: null, status: 'saving' },
      { id: 'e', size: 1000, status: 'uploading' },
      { id: 'f', size: 10_000, owner: 'red' },
      { id: 'g', size: 100_000, status: 'pending_delete' },
    ];
    assert.equal(await exact(), 1 + 20 + 100 + 1000);
  });

  it('hold an image that is hidden and shown again so that no list has it', async () => {
    const image: FakeImage = { id: 'a', size: 7 };
    glance.images = [image];
    assert.equal(await exact(), 7);
    glance.meanwhile = (target) => {
      image.hidden = target.includes('os_hidden=false');
    };
    assert.equal(await exact(), 7);
    assert.deepEqual(glance.asked.slice(-1), ['/v2/images/a']);
  });

  it('hold an image that is shown just before the hidden ones are listed, also when nothing is known yet', async () => {
    const image: FakeImage = { id: 'a', size: 7, hidden: true };
    glance.images = [image];
    glance.meanwhile = () => {
      if (glance.asked.length === 2) image.hidden = false;
    };
    assert.equal(await exact(), 7);
    // it is known now, so the next reading need not look as often
    const before = glance.asked.length;
    assert.equal(await exact(), 7);
    assert.equal(glance.asked.length, before + 2);
  });

  it('are asked for again in one round where there are none', async () => {
    assert.equal(await exact(), 0);
    const before = glance.asked.length;
    assert.equal(await exact(), 0);
    assert.equal(glance.asked.length, before + 2);
  });

  it('hold what an upload stored, though no list had it yet', async () => {
    const image: FakeImage = { id: 'a', size: 7 };
    glance.images = [image];
    known.add('blue', 'a', 0);
    glance.meanwhile = (target) => {
      image.hidden = target.includes('os_hidden=false');
    };
    assert.equal(await exact(), 7);
  });

  it('hold what is known of an image that lost its size, until it is gone or has one again', async () => {
    glance.images = [{ id: 'a', size: 7 }];
    assert.equal(await exact(), 7);
    glance.images = [{ id: 'a', size: null, status: 'saving' }];
    assert.equal(await exact(), 7);
    assert.equal(await exact(), 7);
    glance.images = [{ id: 'a', size: 3 }];
    assert.equal(await exact(), 3);
    glance.images = [];
    assert.equal(await exact(), 0);
    // and what an upload has stored counts although the API never showed it with a size
    known.add('blue', 'b', 5);
    glance.images = [{ id: 'b', size: null, status: 'queued' }];
    assert.equal(await exact(), 5);
  });

  it('do not hold what was deleted, and it is asked for once only', async () => {
    glance.images = [
      { id: 'a', size: 7 },
      { id: 'b', size: 5 },
    ];
    assert.equal(await exact(), 12);
    glance.images = [{ id: 'b', size: 5 }];
    assert.equal(await exact(), 5);
    assert.equal(await exact(), 5);
    assert.equal(glance.asked.filter((target) => target === '/v2/images/a').length, 1);
  });

  it('do not forget an image that an upload stored while they were read', async () => {
    known.add('blue', 'gone', 0);
    glance.meanwhile = (target) => {
      if (target === '/v2/images/gone') known.add('blue', 'late', 0);
    };
    assert.equal(await exact(), 0);
    assert.deepEqual([...known.of('blue').keys()], ['late']);
  });

  it('are not guessed at when a known image cannot be asked for', async () => {
    known.add('blue', 'a', 0);
    const failing = new GlanceUsage(
      async (target) => (target === '/v2/images/a' ? fetched(503, {}) : glance.ask(target)),
      known,
    );
    await assert.rejects(
      failing.storedBytes('blue', caller, 'exact'),
      (error) => error instanceof GatewayError && error.code === 'usage-unavailable',
    );
    assert.ok(known.of('blue').has('a'), 'it was forgotten');
  });

  it('may be a MiB more than there is where the short answer is enough', async () => {
    // what is staged stands in a figure of its own
    glance.usageMiB = [3, 2];
    assert.equal(await usage.storedBytes('blue', caller, 'upper'), 4 * MiB - 1 + (3 * MiB - 1));
    assert.deepEqual(glance.asked, ['/v2/info/usage']);
  });

  it('of another project are never the short answer, which is about the caller’s own', async () => {
    glance.usageMiB = [3, 0];
    glance.images = [{ id: 'a', size: 7, owner: 'red' }];
    assert.equal(await usage.storedBytes('red', caller, 'upper'), 7);
    assert.equal(
      glance.asked.every((target) => target.includes('visibility=all') && target.includes('owner=red')),
      true,
    );
  });
});
