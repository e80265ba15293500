import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type AccountLimits, unlimited } from '../../src/core/account.ts';
import type { Charge, Claim, Granted, Ledger, Reservation } from '../../src/ledger/ledger.ts';

const project = 'project:p';
const user = 'user:u';
/** Larger than anything a test counts, so a probe with it is always granted and what it lacks is what is counted. */
const probeBytes = 1e9;

let lastId = 0;
function claim(bytes: number, more: Partial<Claim> = {}): Claim {
  lastId += 1;
  return {
    id: `upload-${lastId}`,
    charges: [projectCharge()],
    bytes,
    leastBytes: bytes,
    enforce: true,
    ...more,
  };
}

const projectCharge = (limits: Partial<AccountLimits> = {}, account = project): Charge => ({
  account,
  limits: { ...unlimited, ...limits },
  paysForStored: true,
});

const userCharge = (limits: Partial<AccountLimits> = {}, account = user): Charge => ({
  account,
  limits: { ...unlimited, ...limits },
  paysForStored: false,
});

function grantedOf<T>(answer: Granted<T>): T {
  if ('refused' in answer) assert.fail(`refused: ${JSON.stringify(answer.refused)}`);
  return answer.granted;
}

async function reserved(ledger: Ledger, bytes: number, ...charges: Charge[]): Promise<Reservation> {
  return grantedOf(await ledger.reserve(claim(bytes, { charges })));
}

async function grantedToProbe(ledger: Ledger, charge: Charge): Promise<number> {
  const answer = await ledger.reserve(claim(probeBytes, { charges: [charge], leastBytes: 0 }));
  const probe = grantedOf(answer);
  const { bytes } = probe;
  await probe.settle('released', 0);
  return bytes;
}

/** What counts against the total of an account, as the contract lets anybody see it: what a large limit still grants. */
async function countedIn(ledger: Ledger, account: string): Promise<number> {
  return probeBytes - (await grantedToProbe(ledger, projectCharge({ totalBytes: probeBytes }, account)));
}

async function savingIn(ledger: Ledger, account: string): Promise<number> {
  return probeBytes - (await grantedToProbe(ledger, userCharge({ savingBytes: probeBytes }, account)));
}

/** One more than the places taken is enough, the places taken are not. */
async function assertUploadsIn(ledger: Ledger, account: string, uploads: number): Promise<void> {
  await grantedToProbe(ledger, userCharge({ uploads: uploads + 1 }, account));
  if (uploads === 0) return;
  const answer = await ledger.reserve(claim(0, { charges: [userCharge({ uploads }, account)] }));
  assert.deepEqual(
    answer,
    { refused: { account, limit: 'uploads', requested: 1, remaining: 0, allowed: uploads } },
    `${account} has fewer than ${uploads} uploads`,
  );
}

async function read(ledger: Ledger, account: string, storedBytes: number): Promise<void> {
  await (await ledger.beginReading(account)).end(storedBytes);
}

/** The promises of the contract in src/ledger/ledger.ts. Every engine runs them. */
export function describeLedger(name: string, makeLedger: (nowMs: () => number) => Ledger): void {
  describe(`the ledger in ${name}`, () => {
    let ledger: Ledger;
    let nowMs: number;

    beforeEach(() => {
      nowMs = 1000;
      ledger = makeLedger(() => nowMs);
    });

    describe('limits', () => {
      for (const [limit, limits] of [
        ['total', { totalBytes: 100 }],
        ['saving', { savingBytes: 100 }],
      ] as const) {
        for (const bytes of [99, 100]) {
          it(`${limit}: ${bytes} of 100 bytes are granted`, async () => {
            const reservation = await reserved(ledger, bytes, projectCharge(limits));
            assert.equal(reservation.bytes, bytes);
            assert.equal(ledger.savingBytes(), bytes);
          });
        }

        it(`${limit}: 101 of 100 bytes are refused and nothing is charged`, async () => {
          assert.deepEqual(await ledger.reserve(claim(101, { charges: [projectCharge(limits)] })), {
            refused: { account: project, limit, requested: 101, remaining: 100, allowed: 100 },
          });
          assert.equal(ledger.savingBytes(), 0);
          assert.equal(ledger.uploads(), 0);
          assert.equal(await countedIn(ledger, project), 0);
        });

        it(`${limit}: a second upload gets what the first left, and no byte more`, async () => {
          await reserved(ledger, 60, projectCharge(limits));
          assert.deepEqual(await ledger.reserve(claim(41, { charges: [projectCharge(limits)] })), {
            refused: { account: project, limit, requested: 41, remaining: 40, allowed: 100 },
          });
          await reserved(ledger, 40, projectCharge(limits));
          assert.equal(ledger.savingBytes(), 100);
        });

        it(`${limit}: a claim takes what is left where that is its least`, async () => {
          await reserved(ledger, 90, projectCharge(limits));
          const charges = [projectCharge(limits)];
          const answer = await ledger.reserve(claim(50, { charges, leastBytes: 10 }));
          assert.equal(grantedOf(answer).bytes, 10);
          assert.equal(ledger.savingBytes(), 100);
        });

        it(`${limit}: a claim whose least is one byte more than is left is refused`, async () => {
          await reserved(ledger, 90, projectCharge(limits));
          const charges = [projectCharge(limits)];
          assert.deepEqual(await ledger.reserve(claim(50, { charges, leastBytes: 11 })), {
            refused: { account: project, limit, requested: 11, remaining: 10, allowed: 100 },
          });
        });
      }

      it('uploads: the one under and the one at the limit are granted, the one over is refused', async () => {
        const charges = [userCharge({ uploads: 2 })];
        const first = grantedOf(await ledger.reserve(claim(1, { charges })));
        await reserved(ledger, 1, ...charges);
        assert.deepEqual(await ledger.reserve(claim(1, { charges })), {
          refused: { account: user, limit: 'uploads', requested: 1, remaining: 0, allowed: 2 },
        });
        assert.equal(ledger.uploads(), 2);
        await first.settle('released', 0);
        await reserved(ledger, 1, ...charges);
      });

      it('Infinity is no limit', async () => {
        await reserved(ledger, 2 ** 50, projectCharge(), userCharge());
        assert.equal(ledger.savingBytes(), 2 ** 50);
      });

      for (const [bytes, leastBytes] of [
        [-1, -1],
        [0.5, 0],
        [Number.NaN, 0],
        [Infinity, 0],
        [10, -1],
        [10, Number.NaN],
        [10, 11],
      ] as const) {
        it(`a claim on ${bytes} bytes, ${leastBytes} at least, is an error, and so is growing by them`, async () => {
          const reservation = await reserved(ledger, 5, projectCharge());
          await assert.rejects(ledger.reserve(claim(bytes, { leastBytes })), RangeError);
          await assert.rejects(ledger.reserve(claim(bytes, { leastBytes, enforce: false })), RangeError);
          await assert.rejects(reservation.grow(bytes, leastBytes, true), RangeError);
          assert.equal(reservation.bytes, 5);
          assert.equal(ledger.savingBytes(), 5);
          assert.equal(ledger.uploads(), 1);
        });
      }

      it('0 lets an upload of nothing in, and not one byte', async () => {
        await reserved(ledger, 0, projectCharge({ totalBytes: 0, savingBytes: 0 }));
        assert.deepEqual(await ledger.reserve(claim(1, { charges: [projectCharge({ totalBytes: 0 })] })), {
          refused: { account: project, limit: 'total', requested: 1, remaining: 0, allowed: 0 },
        });
        assert.deepEqual(await ledger.reserve(claim(0, { charges: [projectCharge({ uploads: 0 })] })), {
          refused: { account: project, limit: 'uploads', requested: 1, remaining: 0, allowed: 0 },
        });
      });

      it('a lowered limit grants nothing more, and takes nothing away', async () => {
        const reservation = await reserved(ledger, 80, projectCharge({ totalBytes: 100 }));
        assert.deepEqual(await ledger.reserve(claim(1, { charges: [projectCharge({ totalBytes: 50 })] })), {
          refused: { account: project, limit: 'total', requested: 1, remaining: 0, allowed: 50 },
        });
        assert.equal(reservation.bytes, 80);
        assert.equal(await countedIn(ledger, project), 80);
      });

      it('accounts do not share', async () => {
        await reserved(ledger, 100, projectCharge({ totalBytes: 100 }));
        await reserved(ledger, 100, projectCharge({ totalBytes: 100 }, 'project:other'));
        assert.equal(await countedIn(ledger, project), 100);
      });
    });

    describe('a claim on several accounts', () => {
      for (const [which, charges] of [
        ['first', [userCharge({ savingBytes: 5 }), projectCharge({ totalBytes: 100 })]],
        ['last', [projectCharge({ totalBytes: 100 }), userCharge({ savingBytes: 5 })]],
      ] as const) {
        it(`charges none when the ${which} one refuses`, async () => {
          const answer = await ledger.reserve(claim(6, { charges }));
          assert.deepEqual(answer, {
            refused: { account: user, limit: 'saving', requested: 6, remaining: 5, allowed: 5 },
          });
          assert.equal(await countedIn(ledger, project), 0);
          assert.equal(await savingIn(ledger, user), 0);
          await assertUploadsIn(ledger, project, 0);
        });

        it(`is granted what fits everywhere when the ${which} one has least`, async () => {
          const answer = await ledger.reserve(claim(60, { charges, leastBytes: 1 }));
          assert.equal(grantedOf(answer).bytes, 5);
          assert.equal(await countedIn(ledger, project), 5);
          assert.equal(await savingIn(ledger, user), 5);
        });
      }

      it('charges all of them, and counts its bytes and its upload once', async () => {
        await reserved(ledger, 7, projectCharge(), userCharge());
        assert.equal(await savingIn(ledger, project), 7);
        assert.equal(await savingIn(ledger, user), 7);
        await assertUploadsIn(ledger, project, 1);
        await assertUploadsIn(ledger, user, 1);
        assert.equal(ledger.savingBytes(), 7);
        assert.equal(ledger.uploads(), 1);
      });

      it('of many at once exactly so many are granted as fit', async () => {
        const charges = [projectCharge({ totalBytes: 30 }), userCharge()];
        const answers = await Promise.all(
          Array.from({ length: 8 }, () => ledger.reserve(claim(10, { charges }))),
        );
        assert.equal(answers.filter((answer) => 'granted' in answer).length, 3);
        assert.equal(await countedIn(ledger, project), 30);
      });
    });

    describe('growing', () => {
      it('adds to the reservation and to all its accounts, and takes no second place', async () => {
        const reservation = await reserved(ledger, 10, projectCharge({ totalBytes: 100 }), userCharge());
        assert.deepEqual(await reservation.grow(15, 1, true), { granted: 15, overdrawn: null });
        assert.equal(reservation.bytes, 25);
        assert.equal(await countedIn(ledger, project), 25);
        assert.equal(await savingIn(ledger, user), 25);
        assert.equal(ledger.savingBytes(), 25);
        assert.equal(ledger.uploads(), 1);
      });

      it('is granted in part down to its least, and refused below it without a change', async () => {
        const reservation = await reserved(ledger, 90, projectCharge({ totalBytes: 100 }), userCharge());
        assert.deepEqual(await reservation.grow(20, 11, true), {
          refused: { account: project, limit: 'total', requested: 11, remaining: 10, allowed: 100 },
        });
        assert.equal(reservation.bytes, 90);
        assert.equal(await savingIn(ledger, user), 90);
        assert.deepEqual(await reservation.grow(20, 10, true), { granted: 10, overdrawn: null });
        assert.equal(reservation.bytes, 100);
        assert.equal('refused' in (await reservation.grow(20, 1, true)), true, 'grew above the limit');
      });

      it('is not hindered by the limit of uploads that the upload itself reaches', async () => {
        const reservation = await reserved(ledger, 1, userCharge({ uploads: 1 }));
        assert.equal(grantedOf(await reservation.grow(1, 1, true)), 1);
      });

      for (const outcome of ['stored', 'released', 'unknown'] as const) {
        it(`is an error after ${outcome}`, async () => {
          const reservation = await reserved(ledger, 10, projectCharge());
          await reservation.settle(outcome, 10);
          const before = ledger.savingBytes();
          await assert.rejects(reservation.grow(1, 1, true), /cannot grow/);
          assert.equal(ledger.savingBytes(), before);
        });
      }
    });

    describe('settling', () => {
      const charges = [projectCharge({ totalBytes: 100 }), userCharge()];

      it('released gives all bytes and the place back', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('released', 0);
        assert.equal(ledger.savingBytes(), 0);
        assert.equal(ledger.uploads(), 0);
        assert.equal(await countedIn(ledger, project), 0);
        assert.equal(await savingIn(ledger, user), 0);
        await assertUploadsIn(ledger, user, 0);
      });

      for (const storedBytes of [0, 9, 10]) {
        it(`stored keeps ${storedBytes} stored of 10 bytes with the project, and none in flight`, async () => {
          const reservation = await reserved(ledger, 10, ...charges);
          await reservation.settle('stored', storedBytes);
          assert.equal(ledger.savingBytes(), 0);
          assert.equal(ledger.uploads(), 0);
          assert.equal(await countedIn(ledger, project), storedBytes);
          assert.equal(await savingIn(ledger, project), 0);
          assert.equal(await countedIn(ledger, user), 0);
        });
      }

      for (const storedBytes of [11, -1, 0.5, Number.NaN]) {
        it(`stored with ${storedBytes} of 10 bytes is an error, and the reservation can still be settled`, async () => {
          const reservation = await reserved(ledger, 10, ...charges);
          await assert.rejects(reservation.settle('stored', storedBytes), RangeError);
          assert.equal(await countedIn(ledger, project), 10);
          await reservation.settle('released', 0);
          assert.equal(await countedIn(ledger, project), 0);
        });
      }

      it('unknown gives the place back and keeps the bytes in flight', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('unknown', 0);
        assert.equal(ledger.uploads(), 0);
        assert.equal(ledger.savingBytes(), 10);
        assert.equal(await savingIn(ledger, user), 10);
        assert.equal(await countedIn(ledger, project), 10);
        await assertUploadsIn(ledger, user, 0);
      });

      it('unknown, then released, gives the bytes back', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('unknown', 0);
        await reservation.settle('released', 0);
        assert.equal(ledger.uploads(), 0);
        assert.equal(ledger.savingBytes(), 0);
        assert.equal(await countedIn(ledger, project), 0);
      });

      it('unknown, then stored, keeps what was stored until a reading', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('unknown', 0);
        await reservation.settle('stored', 8);
        assert.equal(ledger.uploads(), 0);
        assert.equal(ledger.savingBytes(), 0);
        assert.equal(await countedIn(ledger, project), 8);
      });

      it('a reading does not touch the bytes of an unknown outcome', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('unknown', 0);
        await read(ledger, project, 0);
        assert.equal(await countedIn(ledger, project), 10);
        await reservation.settle('released', 0);
      });

      for (const first of ['stored', 'released', 'unknown'] as const) {
        for (const second of ['stored', 'released', 'unknown'] as const) {
          if (first === 'unknown' && second !== 'unknown') continue;
          it(`${second} after ${first} is harmless and changes nothing`, async () => {
            const other = await reserved(ledger, 20, ...charges);
            const reservation = await reserved(ledger, 10, ...charges);
            await reservation.settle(first, 10);
            const before = [ledger.savingBytes(), ledger.uploads(), await countedIn(ledger, project)];
            await reservation.settle(second, 10);
            assert.deepEqual(
              [ledger.savingBytes(), ledger.uploads(), await countedIn(ledger, project)],
              before,
            );
            await assertUploadsIn(ledger, user, 1);
            await other.settle('released', 0);
          });
        }
      }

      it('an id may not be claimed while it is live, an unknown outcome included', async () => {
        const twice = claim(10, { charges });
        const reservation = grantedOf(await ledger.reserve(twice));
        await assert.rejects(ledger.reserve(twice), /exists already/);
        await reservation.settle('unknown', 0);
        await assert.rejects(ledger.reserve(twice), /exists already/);
        assert.equal(ledger.savingBytes(), 10);
        await reservation.settle('released', 0);
      });

      it('a refused claim leaves its id free', async () => {
        const refused = claim(101, { charges });
        assert.equal('refused' in (await ledger.reserve(refused)), true, 'the claim was not refused');
        grantedOf(await ledger.reserve({ ...refused, bytes: 1, leastBytes: 1 }));
      });

      it('stored bytes of a project without a total are not kept, since nothing would take them away', async () => {
        const reservation = await reserved(ledger, 10, projectCharge());
        await reservation.settle('stored', 10);
        assert.equal(await countedIn(ledger, project), 0);
      });

      it('stored without a total makes the reading out of date, so that a limit that comes later counts anew', async () => {
        await read(ledger, project, 40);
        const begun = await ledger.beginReading(project);
        const reservation = await reserved(ledger, 10, projectCharge());
        await reservation.settle('stored', 10);
        assert.equal(await ledger.readingAgeMs(project), null);
        await begun.end(40);
        assert.equal(await ledger.readingAgeMs(project), null, 'a reading without the 10 bytes was taken in');
        await read(ledger, project, 50);
        assert.equal(await ledger.readingAgeMs(project), 0);
        assert.equal(await countedIn(ledger, project), 50);
      });

      for (const [what, outcome, storedBytes, charge] of [
        ['released without a total', 'released', 10, projectCharge()],
        ['nothing stored without a total', 'stored', 0, projectCharge()],
        ['stored under a total', 'stored', 10, projectCharge({ totalBytes: 100 })],
        ['stored by who does not pay for it', 'stored', 10, userCharge({}, project)],
      ] as const) {
        it(`${what} leaves the reading as it is`, async () => {
          await read(ledger, project, 40);
          await (await reserved(ledger, 10, charge)).settle(outcome, storedBytes);
          assert.equal(await ledger.readingAgeMs(project), 0);
        });
      }
    });

    describe('readings', () => {
      const charges = [projectCharge({ totalBytes: 100 })];

      it('count against the total together with what is in flight', async () => {
        await read(ledger, project, 70);
        await reserved(ledger, 20, ...charges);
        assert.deepEqual(await ledger.reserve(claim(11, { charges })), {
          refused: { account: project, limit: 'total', requested: 11, remaining: 10, allowed: 100 },
        });
        await reserved(ledger, 10, ...charges);
      });

      it('do not count against the limit of bytes in flight', async () => {
        await read(ledger, project, 1000);
        await reserved(ledger, 100, projectCharge({ savingBytes: 100 }));
      });

      it('that rise above the total leave nothing to grant, and nothing negative', async () => {
        await read(ledger, project, 101);
        assert.deepEqual(await ledger.reserve(claim(1, { charges })), {
          refused: { account: project, limit: 'total', requested: 1, remaining: 0, allowed: 100 },
        });
      });

      it('begun before an upload ended do not take its bytes away', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        const reading = await ledger.beginReading(project);
        await reservation.settle('stored', 10);
        await reading.end(5);
        assert.equal(await countedIn(ledger, project), 15);
      });

      it('begun after an upload ended replace its bytes', async () => {
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('stored', 10);
        const reading = await ledger.beginReading(project);
        assert.equal(await countedIn(ledger, project), 10);
        await reading.end(12);
        assert.equal(await countedIn(ledger, project), 12);
      });

      it('replace exactly the uploads that ended before they began', async () => {
        const early = await reserved(ledger, 10, ...charges);
        const late = await reserved(ledger, 20, ...charges);
        const running = await reserved(ledger, 30, ...charges);
        await early.settle('stored', 10);
        const reading = await ledger.beginReading(project);
        await late.settle('stored', 20);
        await reading.end(10);
        assert.equal(await countedIn(ledger, project), 60);
        await running.settle('released', 0);
        await read(ledger, project, 30);
        assert.equal(await countedIn(ledger, project), 30);
      });

      it('that a newer one overtook are ignored', async () => {
        const older = await ledger.beginReading(project);
        const newer = await ledger.beginReading(project);
        await newer.end(50);
        nowMs += 10;
        await older.end(1);
        assert.equal(await countedIn(ledger, project), 50);
        assert.equal(await ledger.readingAgeMs(project), 10);
      });

      it('that end in their order are both taken in', async () => {
        const older = await ledger.beginReading(project);
        const newer = await ledger.beginReading(project);
        await older.end(1);
        assert.equal(await countedIn(ledger, project), 1);
        await newer.end(50);
        assert.equal(await countedIn(ledger, project), 50);
      });

      it('of one account say nothing of another', async () => {
        await read(ledger, 'project:other', 99);
        assert.equal(await countedIn(ledger, project), 0);
        assert.equal(await ledger.readingAgeMs(project), null);
      });

      it('have no age until there is one, and then that of their end', async () => {
        assert.equal(await ledger.readingAgeMs(project), null);
        const reading = await ledger.beginReading(project);
        nowMs += 100;
        assert.equal(await ledger.readingAgeMs(project), null);
        await reading.end(0);
        assert.equal(await ledger.readingAgeMs(project), 0);
        nowMs += 7;
        assert.equal(await ledger.readingAgeMs(project), 7);
      });

      it('survive uploads', async () => {
        await read(ledger, project, 40);
        const reservation = await reserved(ledger, 10, ...charges);
        await reservation.settle('released', 0);
        nowMs += 3;
        assert.equal(await ledger.readingAgeMs(project), 3);
        assert.equal(await countedIn(ledger, project), 40);
      });

      for (const storedBytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
        it(`of ${storedBytes} bytes are an error and are not taken in`, async () => {
          await read(ledger, project, 40);
          const reading = await ledger.beginReading(project);
          await assert.rejects(reading.end(storedBytes), RangeError);
          assert.equal(await countedIn(ledger, project), 40);
        });
      }
    });

    describe('a claim that is not enforced', () => {
      it('is granted whole and says which limit it passed over', async () => {
        const charges = [projectCharge({ totalBytes: 100 }), userCharge({ savingBytes: 50 })];
        const answer = await ledger.reserve(claim(150, { charges, enforce: false }));
        assert.equal(grantedOf(answer).bytes, 150);
        assert.deepEqual('granted' in answer && answer.overdrawn, {
          account: project,
          limit: 'total',
          requested: 150,
          remaining: 100,
          allowed: 100,
        });
        assert.equal(await countedIn(ledger, project), 150);
      });

      it('says nothing where it is at the limit', async () => {
        const charges = [projectCharge({ totalBytes: 100, savingBytes: 100, uploads: 1 })];
        const answer = await ledger.reserve(claim(100, { charges, enforce: false }));
        assert.equal('granted' in answer && answer.overdrawn, null);
      });

      it('passes over the limit of uploads too', async () => {
        const charges = [userCharge({ uploads: 1 })];
        await reserved(ledger, 1, ...charges);
        const answer = await ledger.reserve(claim(1, { charges, enforce: false }));
        assert.equal('granted' in answer && answer.overdrawn?.limit, 'uploads');
        assert.equal(ledger.uploads(), 2);
      });

      it('grows over the limit and says so, and the next enforced one is refused', async () => {
        const charges = [projectCharge({ totalBytes: 100 })];
        const reservation = await reserved(ledger, 100, ...charges);
        assert.deepEqual(await reservation.grow(20, 1, false), {
          granted: 20,
          overdrawn: { account: project, limit: 'total', requested: 1, remaining: 0, allowed: 100 },
        });
        assert.equal(reservation.bytes, 120);
        assert.equal('refused' in (await reservation.grow(1, 1, true)), true, 'grew where it was overdrawn');
        await reservation.settle('released', 0);
        assert.equal(ledger.savingBytes(), 0);
        assert.equal(await countedIn(ledger, project), 0);
      });
    });

    it('is exact whatever happens in whatever order', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          const history = new History(makeLedger(() => 0));
          for (const taken of steps) {
            await history.take(taken);
            await history.check();
          }
          await history.finish();
        }),
        { numRuns: 2000 },
      );
    });
  });
}

const small = fc.integer({ min: 0, max: 60 });
const which = fc.nat({ max: 7 });
const owner = fc.constantFrom('a', 'b');

type Step =
  | { readonly do: 'reserve'; readonly project: string; readonly user: string; bytes: number; least: number }
  | { readonly do: 'grow'; readonly upload: number; readonly bytes: number; readonly least: number }
  | { readonly do: 'arrive'; readonly upload: number; readonly bytes: number }
  | { readonly do: 'settle'; readonly upload: number; readonly unknown: boolean }
  | { readonly do: 'begin'; readonly project: string }
  | { readonly do: 'look' | 'end'; readonly reading: number }
  | { readonly do: 'delete'; readonly project: string };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('reserve' as const), project: owner, user: owner, bytes: small, least: small }),
  fc.record({ do: fc.constant('grow' as const), upload: which, bytes: small, least: small }),
  fc.record({ do: fc.constant('arrive' as const), upload: which, bytes: small }),
  fc.record({ do: fc.constant('settle' as const), upload: which, unknown: fc.boolean() }),
  fc.record({ do: fc.constant('begin' as const), project: owner }),
  fc.record({ do: fc.constantFrom('look' as const, 'end' as const), reading: which }),
  fc.record({ do: fc.constant('delete' as const), project: owner }),
);

interface Upload {
  readonly project: string;
  readonly user: string;
  readonly reservation: Reservation;
  bytes: number;
  state: 'live' | 'unknown' | 'settled';
  /** What the API stored of it; null = nothing yet. It may do so long before the gateway knows. */
  storedBytes: number | null;
  /** Deleted since, or never stored. */
  present: boolean;
  settledAt: number;
}

interface Reading {
  readonly project: string;
  readonly begunAt: number;
  readonly end: (storedBytes: number) => Promise<void>;
  seenBytes: number | null;
  takenIn: boolean;
}

/**
 * The reference: no running sums, but the list of all that happened, summed up anew each time it is asked. Beside it
 * stands what the API really holds, which the ledger only knows from readings and the ends of uploads.
 */
class History {
  static readonly totalBytes = 100;
  static readonly savingBytes = 70;
  static readonly mostUploads = 3;

  readonly #ledger: Ledger;
  readonly #uploads: Upload[] = [];
  readonly #readings: Reading[] = [];
  #now = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  async take(taken: Step): Promise<void> {
    this.#now += 1;
    switch (taken.do) {
      case 'reserve':
        return await this.#reserve(
          taken.project,
          taken.user,
          taken.bytes,
          Math.min(taken.bytes, taken.least),
        );
      case 'grow':
        return await this.#grow(taken.upload, taken.bytes, Math.min(taken.bytes, taken.least));
      case 'arrive': {
        const upload = this.#upload(taken.upload, (one) => one.state === 'live' && one.storedBytes === null);
        if (upload === undefined) return;
        upload.storedBytes = Math.min(taken.bytes, upload.bytes);
        upload.present = true;
        return;
      }
      case 'settle': {
        const upload = this.#upload(taken.upload, (one) => one.state !== 'settled');
        if (upload !== undefined) await this.#settle(upload, taken.unknown && upload.state === 'live');
        return;
      }
      case 'begin': {
        const { end } = await this.#ledger.beginReading(`project:${taken.project}`);
        this.#readings.push({
          project: taken.project,
          begunAt: this.#now,
          end,
          seenBytes: null,
          takenIn: false,
        });
        return;
      }
      case 'look': {
        const reading = pick(this.#readings, taken.reading, (one) => one.seenBytes === null);
        if (reading !== undefined) reading.seenBytes = this.#heldByApi(reading.project);
        return;
      }
      case 'end': {
        const reading = pick(this.#readings, taken.reading, (one) => one.seenBytes !== null && !one.takenIn);
        if (reading !== undefined) await this.#end(reading);
        return;
      }
      case 'delete':
        for (const one of this.#uploads) if (one.project === taken.project) one.present = false;
    }
  }

  /** The ledger says what the history says, and what the API holds together with what may still come fits. */
  async check(): Promise<void> {
    const inFlight = this.#uploads.filter(({ state }) => state !== 'settled');
    assert.equal(this.#ledger.savingBytes(), sum(inFlight), 'bytes in flight');
    assert.equal(
      this.#ledger.uploads(),
      inFlight.filter(({ state }) => state === 'live').length,
      'uploads under way',
    );
    for (const id of ['a', 'b']) {
      const counted = await countedIn(this.#ledger, `project:${id}`);
      assert.equal(counted, this.#counted(id), `bytes counted in project ${id}`);
      assert.equal(
        await savingIn(this.#ledger, `user:${id}`),
        sum(inFlight.filter(({ user }) => user === id)),
        `bytes in flight of user ${id}`,
      );
      // a reading that saw bytes of a running upload counts them twice for a while: too much, never too little
      const really = this.#heldByApi(id) + sum(inFlight.filter((one) => one.project === id && !one.present));
      assert.equal(really <= counted, true, `${really} bytes of project ${id} are there, ${counted} counted`);
      assert.equal(
        really <= History.totalBytes,
        true,
        `${really} bytes of project ${id} of ${History.totalBytes}`,
      );
    }
  }

  /** When all is settled and read again, nothing is in flight, and the whole rest of every limit can be had. */
  async finish(): Promise<void> {
    for (const upload of this.#uploads) {
      this.#now += 1;
      if (upload.state !== 'settled') await this.#settle(upload, false);
    }
    assert.equal(this.#ledger.savingBytes(), 0, 'bytes in flight at the end');
    assert.equal(this.#ledger.uploads(), 0, 'uploads at the end');
    for (const id of ['a', 'b']) {
      await read(this.#ledger, `project:${id}`, this.#heldByApi(id));
      assert.equal(await countedIn(this.#ledger, `project:${id}`), this.#heldByApi(id), 'bytes at the end');
      assert.equal(await savingIn(this.#ledger, `project:${id}`), 0, 'bytes in flight at the end');
      assert.equal(await savingIn(this.#ledger, `user:${id}`), 0, 'bytes in flight at the end');
      await assertUploadsIn(this.#ledger, `user:${id}`, 0);
    }
  }

  async #reserve(projectId: string, userId: string, bytes: number, leastBytes: number): Promise<void> {
    const uploads = this.#uploads.filter((one) => one.state === 'live' && one.user === userId).length;
    const room = uploads >= History.mostUploads ? -1 : this.#room(projectId, userId);
    const charges = [
      projectCharge({ totalBytes: History.totalBytes }, `project:${projectId}`),
      userCharge({ savingBytes: History.savingBytes, uploads: History.mostUploads }, `user:${userId}`),
    ];
    const answer = await this.#ledger.reserve(claim(bytes, { charges, leastBytes }));
    assert.equal(
      'granted' in answer,
      leastBytes <= room,
      `${leastBytes} bytes at least where ${room} are left`,
    );
    if ('refused' in answer) return;
    assert.equal(answer.granted.bytes, Math.min(bytes, room), 'granted bytes');
    this.#uploads.push({
      project: projectId,
      user: userId,
      reservation: answer.granted,
      bytes: answer.granted.bytes,
      state: 'live',
      storedBytes: null,
      present: false,
      settledAt: 0,
    });
  }

  async #grow(index: number, bytes: number, leastBytes: number): Promise<void> {
    const upload = this.#upload(index, (one) => one.state === 'live' && one.storedBytes === null);
    if (upload === undefined) return;
    const room = this.#room(upload.project, upload.user);
    const answer = await upload.reservation.grow(bytes, leastBytes, true);
    assert.equal('granted' in answer, leastBytes <= room, `${leastBytes} more where ${room} are left`);
    if ('granted' in answer) {
      assert.equal(answer.granted, Math.min(bytes, room), 'granted bytes');
      upload.bytes += answer.granted;
    }
    assert.equal(upload.reservation.bytes, upload.bytes, 'bytes of the reservation');
  }

  async #settle(upload: Upload, unknown: boolean): Promise<void> {
    const outcome = unknown ? 'unknown' : upload.storedBytes === null ? 'released' : 'stored';
    upload.state = unknown ? 'unknown' : 'settled';
    upload.settledAt = this.#now;
    await upload.reservation.settle(outcome, upload.storedBytes ?? 0);
    await upload.reservation.settle(outcome, upload.storedBytes ?? 0);
  }

  async #end(reading: Reading): Promise<void> {
    reading.takenIn = true;
    await reading.end(reading.seenBytes ?? 0);
  }

  #upload(index: number, fits: (upload: Upload) => boolean): Upload | undefined {
    return pick(this.#uploads, index, fits);
  }

  #room(projectId: string, userId: string): number {
    const inFlight = sum(this.#uploads.filter((one) => one.state !== 'settled' && one.user === userId));
    return Math.min(History.totalBytes - this.#counted(projectId), History.savingBytes - inFlight);
  }

  #counted(projectId: string): number {
    // readings are listed as they began; one that was overtaken stands before the one that overtook it
    const reading = this.#readings.filter((one) => one.project === projectId && one.takenIn).at(-1);
    const begunAt = reading?.begunAt ?? 0;
    let bytes = reading?.seenBytes ?? 0;
    for (const one of this.#uploads) {
      if (one.project !== projectId) continue;
      if (one.state !== 'settled') bytes += one.bytes;
      else if (one.settledAt > begunAt) bytes += one.storedBytes ?? 0;
    }
    return bytes;
  }

  #heldByApi(projectId: string): number {
    return this.#uploads.reduce(
      (held, one) => held + (one.project === projectId && one.present ? (one.storedBytes ?? 0) : 0),
      0,
    );
  }
}

const sum = (uploads: readonly { bytes: number }[]): number =>
  uploads.reduce((bytes, upload) => bytes + upload.bytes, 0);

function pick<T>(list: readonly T[], index: number, fits: (one: T) => boolean): T | undefined {
  const fitting = list.filter(fits);
  return fitting[index % fitting.length];
}
