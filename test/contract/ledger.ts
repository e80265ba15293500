import assert from 'node:assert/strict';
import { type AccountLimits, unlimited } from '../../src/core/account.ts';
import type { Charge, Claim, Granted, Ledger, Reservation } from '../../src/ledger/ledger.ts';
import { assertUploadsIn, countedIn, savingIn } from './probe.ts';

const project = 'project:p';
const user = 'user:u';

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
  });
}
