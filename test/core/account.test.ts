import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Account,
  type AccountLimits,
  countedBytes,
  emptyAccount,
  type Refusal,
  refusal,
  remainingBytes,
  unlimited,
  unreadBytes,
  withReading,
  withReadingOutdated,
  withReleased,
  withReserved,
  withStored,
  withUploadEnded,
} from '../../src/core/account.ts';

/** 30 stored, 20 unread, 10 in flight. */
const busy: Account = {
  storedBytes: 30,
  readingMark: 4,
  savingBytes: 10,
  uploads: 2,
  unread: [
    { bytes: 15, endMark: 5 },
    { bytes: 5, endMark: 7 },
  ],
};

describe('an account', () => {
  it('counts what is stored, what was stored since the reading, and what is in flight', () => {
    assert.equal(countedBytes(emptyAccount), 0);
    assert.equal(unreadBytes(busy), 20);
    assert.equal(countedBytes(busy), 60);
  });

  const remaining: [what: string, limits: Partial<AccountLimits>, bytes: number][] = [
    ['without a limit', {}, Infinity],
    ['under the total', { totalBytes: 100 }, 40],
    ['at the total', { totalBytes: 60 }, 0],
    ['above the total', { totalBytes: 59 }, 0],
    ['under the limit of bytes in flight', { savingBytes: 11 }, 1],
    ['at the limit of bytes in flight', { savingBytes: 10 }, 0],
    ['above the limit of bytes in flight', { savingBytes: 9 }, 0],
    ['where both are set and the total is nearer', { totalBytes: 65, savingBytes: 100 }, 5],
    ['where both are set and the bytes in flight are nearer', { totalBytes: 100, savingBytes: 13 }, 3],
    ['whatever the uploads', { uploads: 1 }, Infinity],
  ];
  for (const [what, limits, bytes] of remaining) {
    it(`has ${bytes} bytes left ${what}`, () => {
      assert.equal(remainingBytes(busy, { ...unlimited, ...limits }), bytes);
    });
  }

  const asked: [
    what: string,
    limits: Partial<AccountLimits>,
    bytes: number,
    newUpload: boolean,
    Refusal | null,
  ][] = [
    ['no limit', {}, Number.MAX_SAFE_INTEGER, true, null],
    ['under the total', { totalBytes: 100 }, 39, true, null],
    ['at the total', { totalBytes: 100 }, 40, true, null],
    [
      'over the total',
      { totalBytes: 100 },
      41,
      true,
      { limit: 'total', requested: 41, remaining: 40, allowed: 100 },
    ],
    [
      'a total that is passed already',
      { totalBytes: 50 },
      1,
      false,
      { limit: 'total', requested: 1, remaining: 0, allowed: 50 },
    ],
    ['under the bytes in flight', { savingBytes: 20 }, 9, true, null],
    ['at the bytes in flight', { savingBytes: 20 }, 10, true, null],
    [
      'over the bytes in flight',
      { savingBytes: 20 },
      11,
      true,
      { limit: 'saving', requested: 11, remaining: 10, allowed: 20 },
    ],
    [
      'bytes in flight that are passed already',
      { savingBytes: 5 },
      1,
      false,
      { limit: 'saving', requested: 1, remaining: 0, allowed: 5 },
    ],
    [
      'both over: the total is named, since waiting does not mend it',
      { totalBytes: 61, savingBytes: 11 },
      2,
      true,
      { limit: 'total', requested: 2, remaining: 1, allowed: 61 },
    ],
    ['the last place', { uploads: 3 }, 1, true, null],
    ['no place left', { uploads: 2 }, 1, true, { limit: 'uploads', requested: 1, remaining: 0, allowed: 2 }],
    [
      'more places taken than there are now',
      { uploads: 1 },
      1,
      true,
      { limit: 'uploads', requested: 1, remaining: 0, allowed: 1 },
    ],
    ['no place left, but no new upload', { uploads: 2 }, 1, false, null],
  ];
  for (const [what, limits, bytes, newUpload, expected] of asked) {
    it(`${expected === null ? 'grants' : 'refuses'}: ${what}`, () => {
      assert.deepEqual(refusal(busy, { ...unlimited, ...limits }, bytes, newUpload), expected);
    });
  }

  it('takes a place for a new upload and none for a growing one', () => {
    const begun = withReserved(emptyAccount, 5, true);
    assert.deepEqual(begun, { ...emptyAccount, savingBytes: 5, uploads: 1 });
    assert.deepEqual(withReserved(begun, 3, false), { ...emptyAccount, savingBytes: 8, uploads: 1 });
  });

  it('frees the place of an upload that is over, and leaves its bytes in flight', () => {
    assert.deepEqual(withUploadEnded(busy), { ...busy, uploads: 1 });
  });

  it('gives released bytes back', () => {
    assert.deepEqual(withReleased(busy, 10), { ...busy, savingBytes: 0 });
  });

  it('keeps stored bytes as unread and gives the rest of the reservation back', () => {
    assert.deepEqual(withStored(busy, 10, 7, 9, 8), {
      ...busy,
      savingBytes: 0,
      unread: [...busy.unread, { bytes: 7, endMark: 9 }],
    });
    assert.deepEqual(withStored(busy, 10, 0, 9, 8), withReleased(busy, 10));
  });

  it('keeps as one what was stored between the same two readings, by the mark of the last', () => {
    const { unread } = withStored(withStored(busy, 3, 3, 9, 8), 4, 4, 12, 8);
    assert.deepEqual(unread, [...busy.unread, { bytes: 7, endMark: 12 }]);
  });

  it('keeps apart what was stored before and after a reading began', () => {
    const { unread } = withStored(withStored(busy, 3, 3, 9, 8), 4, 4, 12, 10);
    assert.deepEqual(unread, [...busy.unread, { bytes: 3, endMark: 9 }, { bytes: 4, endMark: 12 }]);
  });

  const readings: [beginMark: number, unread: number][] = [
    [5, 20 - 15],
    [6, 5],
    [8, 0],
  ];
  for (const [beginMark, unread] of readings) {
    it(`has ${unread} of its bytes stored at marks 5 and 7 unread after a reading begun at ${beginMark}`, () => {
      const read = withReading(busy, 77, beginMark);
      assert.equal(read.storedBytes, 77);
      assert.equal(read.readingMark, beginMark);
      assert.equal(unreadBytes(read), unread);
      assert.equal(read.savingBytes, 10);
    });
  }

  for (const beginMark of [3, 4]) {
    it(`ignores a reading begun at ${beginMark} when it holds the one of 4`, () => {
      assert.equal(withReading(busy, 77, beginMark), busy);
    });
  }

  it('takes in no reading begun before something was stored that it does not keep', () => {
    const outdated = withReadingOutdated(busy, 9);
    assert.deepEqual(outdated, { ...busy, readingMark: 9 });
    assert.equal(withReading(outdated, 77, 8), outdated);
    assert.equal(countedBytes(withReading(outdated, 77, 10)), 77 + 10);
  });

  it('is never changed in place', () => {
    const before = structuredClone(busy);
    withReserved(busy, 1, true);
    withStored(busy, 1, 1, 9, 8);
    withReading(busy, 1, 9);
    withUploadEnded(busy);
    assert.deepEqual(busy, before);
  });

  const amount = fc.nat({ max: 1000 });
  const limit = fc.oneof(amount, fc.constant(Infinity));
  const someLimits = fc.record({
    totalBytes: limit,
    savingBytes: limit,
    uploads: fc.oneof(fc.nat({ max: 4 }), limit),
  });
  const plain = { noNullPrototype: true };
  const unread = fc.array(fc.record({ bytes: amount, endMark: fc.nat({ max: 20 }) }, plain), {
    maxLength: 5,
  });
  const marked = {
    storedBytes: amount,
    readingMark: fc.nat({ max: 20 }),
    savingBytes: amount,
    uploads: fc.nat({ max: 4 }),
    unread,
  };
  const someAccount: fc.Arbitrary<Account> = fc.record(marked, plain);

  it('grants all that remains and not a byte more, and says so in exact numbers', () => {
    fc.assert(
      fc.property(someAccount, someLimits, amount, fc.boolean(), (account, own, bytes, newUpload) => {
        const left = Math.min(own.totalBytes - countedBytes(account), own.savingBytes - account.savingBytes);
        assert.equal(remainingBytes(account, own), Math.max(0, left));
        const refused = refusal(account, own, bytes, newUpload);
        const hasPlace = !newUpload || account.uploads < own.uploads;
        assert.equal(refused === null, hasPlace && bytes <= left);
        if (refused === null) {
          const next = withReserved(account, bytes, newUpload);
          assert.equal(countedBytes(next) <= own.totalBytes && next.savingBytes <= own.savingBytes, true);
          assert.equal(!newUpload || next.uploads <= own.uploads, true);
        } else {
          assert.equal(
            refused.allowed,
            { total: own.totalBytes, saving: own.savingBytes, uploads: own.uploads }[refused.limit],
          );
          assert.equal(refused.remaining >= 0, true, 'something negative remains');
          if (refused.remaining > 0 && refused.limit !== 'uploads') {
            const fits = refusal(account, own, refused.remaining, newUpload);
            assert.notEqual(
              fits?.limit,
              refused.limit,
              'what was said to remain is refused for the same reason',
            );
          }
        }
      }),
    );
  });

  it('is what it was when all that was reserved is given back', () => {
    fc.assert(
      fc.property(someAccount, amount, amount, (account, first, more) => {
        const grown = withReserved(withReserved(account, first, true), more, false);
        assert.equal(countedBytes(grown), countedBytes(account) + first + more);
        assert.deepEqual(withUploadEnded(withReleased(grown, first + more)), account);
        assert.deepEqual(withReleased(withUploadEnded(grown), first + more), account);
      }),
    );
  });

  it('counts what is stored of a reservation until a reading that begins later', () => {
    fc.assert(
      fc.property(someAccount, amount, amount, amount, (account, one, other, read) => {
        const [stored, reserved] = one < other ? [one, other] : [other, one];
        const before = countedBytes(account);
        const after = withStored(withReserved(account, reserved, true), reserved, stored, 21, 20);
        assert.equal(countedBytes(after), before + stored);
        assert.equal(after.savingBytes, account.savingBytes);
        assert.equal(
          unreadBytes(withReading(after, read, 20)) >= stored,
          true,
          'an older reading took it away',
        );
        assert.equal(countedBytes(withReading(after, read, 22)), read + account.savingBytes);
      }),
    );
  });

  it('ends with the newest of its readings, in whatever order they are taken in', () => {
    const readings = fc.uniqueArray(
      fc.record({ beginMark: fc.integer({ min: 21, max: 60 }), bytes: amount }),
      {
        selector: ({ beginMark }) => beginMark,
        minLength: 1,
        maxLength: 6,
      },
    );
    const ends = fc.array(fc.record({ bytes: amount, endMark: fc.integer({ min: 21, max: 60 }) }), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(someAccount, ends, readings, (account, later, list) => {
        const [newest] = [...list].sort((one, other) => other.beginMark - one.beginMark);
        const begun = { ...account, unread: later };
        const all = list.reduce<Account>(
          (next, { bytes, beginMark }) => withReading(next, bytes, beginMark),
          begun,
        );
        assert.deepEqual(all, withReading(begun, newest?.bytes ?? 0, newest?.beginMark ?? 0));
      }),
    );
  });
});
