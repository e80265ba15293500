import assert from 'node:assert/strict';
import fc from 'fast-check';
import { z } from 'zod';
import { type AccountLimits, unlimited } from '../../src/core/account.ts';
import type { Claim } from '../../src/ledger/ledger.ts';
import type { Engine, Store } from './engine.ts';
import { type Gateway, type Image, LedgerHistory, type Reading, type Upload } from './ledger-history.ts';
import { assertUploadsIn, countedIn, savingIn } from './probe.ts';

/** The accounts of the model and the limits they begin with: small ones, so that they are met all the time. */
const accounts: Readonly<Record<string, AccountLimits>> = {
  'project:a': { ...unlimited, totalBytes: 100 },
  'project:b': { totalBytes: 80, savingBytes: 50, uploads: 4 },
  'domain:d': { ...unlimited, totalBytes: 150, uploads: 5 },
  'user:a': { ...unlimited, savingBytes: 70, uploads: 3 },
  'user:b': { ...unlimited, savingBytes: 60 },
};
const paysForStored = (account: string): boolean => !account.startsWith('user:');

/** What the commands do things to. */
interface Rig {
  readonly store: Store;
  /** How often each kind of command ran. */
  readonly ran: Map<string, number>;
  lastId: number;
}

type State = Readonly<LedgerHistory>;

/** A kind of step. */
interface Kind<Choice, Target> {
  /** What it is done to; undefined where it cannot be done now. */
  find(history: State, choice: Choice): Target | undefined;
  /** Does it to the ledger and tells the history, and compares what the ledger answers. */
  run(history: LedgerHistory, target: Target, choice: Choice, rig: Rig): Promise<void>;
}

class Command<Choice, Target> implements fc.AsyncCommand<LedgerHistory, Rig> {
  readonly #name: string;
  readonly #choice: Choice;
  readonly #kind: Kind<Choice, Target>;

  constructor(name: string, choice: Choice, kind: Kind<Choice, Target>) {
    this.#name = name;
    this.#choice = choice;
    this.#kind = kind;
  }

  check(history: State): boolean {
    return this.#kind.find(history, this.#choice) !== undefined;
  }

  async run(history: LedgerHistory, rig: Rig): Promise<void> {
    const target = this.#kind.find(history, this.#choice);
    if (target === undefined) throw new Error(`${this} was run where it cannot be`);
    rig.ran.set(this.#name, (rig.ran.get(this.#name) ?? 0) + 1);
    history.nextMoment();
    await this.#kind.run(history, target, this.#choice, rig);
    await compare(history);
  }

  toString(): string {
    return `${this.#name}(${fc.stringify(this.#choice)})`;
  }
}

const kind = <Choice, Target>(
  weight: number,
  name: string,
  choice: fc.Arbitrary<Choice>,
  steps: Kind<Choice, Target>,
): fc.WeightedArbitrary<fc.AsyncCommand<LedgerHistory, Rig>> => ({
  weight,
  arbitrary: choice.map((chosen) => new Command(name, chosen, steps)),
});

// choices; `nth` picks one of those that fit, however many they are then

const nth = fc.nat({ max: 11 });
const account = fc.constantFrom(...Object.keys(accounts));
const amounts = fc
  .tuple(fc.nat({ max: 60 }), fc.nat({ max: 60 }))
  .map(([one, other]) => ({ bytes: Math.max(one, other), leastBytes: Math.min(one, other) }));
const enforce = fc.oneof(
  { weight: 7, arbitrary: fc.constant(true) },
  { weight: 1, arbitrary: fc.constant(false) },
);
const limits = fc.record({
  totalBytes: fc.constantFrom(Infinity, 0, 40, 100, 200),
  savingBytes: fc.constantFrom(Infinity, Infinity, 0, 30, 70),
  uploads: fc.constantFrom(Infinity, Infinity, 0, 1, 3),
});
/** Numbers that are no amount of bytes. */
const noAmount = fc.constantFrom(-1, 0.5, Number.NaN, Infinity, 2 ** 53);

const working = ({ gateway }: { gateway: Gateway }): boolean => gateway.state === 'working';
const unsettled = ({ state }: Upload): boolean => state !== 'settled';

const commands = fc.commands(
  [
    fc.oneof(
      kind(
        10,
        'reserve',
        fc.record({
          nth,
          accounts: fc.shuffledSubarray(Object.keys(accounts), { minLength: 1, maxLength: 3 }),
          amounts,
          enforce,
        }),
        {
          find: (history, choice) => history.nthGateway(choice.nth),
          async run(history, gateway, choice, rig) {
            rig.lastId += 1;
            const claim: Claim = {
              id: `upload-${rig.lastId}`,
              charges: choice.accounts.map((name) => ({
                account: name,
                limits: history.limitsOf(name),
                paysForStored: paysForStored(name),
              })),
              ...choice.amounts,
              enforce: choice.enforce,
            };
            const expected = history.answerTo(claim, true);
            const answer = await gateway.ledger.reserve(claim);
            if ('refused' in answer) return assert.deepEqual(answer, expected);
            const { granted: reservation, overdrawn } = answer;
            const { id, bytes } = reservation;
            assert.deepEqual({ granted: bytes, overdrawn }, expected);
            assert.equal(id, claim.id);
            history.reserved({
              claim,
              gateway,
              reservation,
              bytes,
              state: 'live',
              image: null,
              storedAt: null,
            });
          },
        },
      ),
      kind(6, 'grow', fc.record({ nth, amounts, enforce }), {
        find: (history, choice) =>
          history.nthUpload(choice.nth, (one) => one.state === 'live' && one.image === null && working(one)),
        async run(history, upload, choice) {
          const { bytes, leastBytes } = choice.amounts;
          const expected = history.answerTo(
            { ...upload.claim, bytes, leastBytes, enforce: choice.enforce },
            false,
          );
          const answer = await upload.reservation.grow(bytes, leastBytes, choice.enforce);
          assert.deepEqual(answer, expected);
          if ('granted' in answer) history.grown(upload, answer.granted, choice.enforce);
        },
      }),
      // the API has the image before anybody settles; a silent gateway may have sent all of it
      kind(7, 'store', fc.record({ nth, bytes: fc.nat({ max: 80 }) }), {
        find: (history, choice) =>
          history.nthUpload(choice.nth, (one) => unsettled(one) && one.image === null),
        run: async (history, upload, { bytes }) => history.stored(upload, Math.min(bytes, upload.bytes)),
      }),
      kind(8, 'settle', fc.record({ nth, unknown: fc.boolean(), deletedIsStored: fc.boolean() }), {
        find: (history, choice) => history.nthUpload(choice.nth, unsettled),
        run: async (history, upload, choice) =>
          choice.unknown && upload.state === 'live'
            ? await settleAs(history, upload, 'unknown')
            : await settleForGood(history, upload, choice.deletedIsStored),
      }),
      kind(3, 'settle again', fc.record({ nth, outcome: fc.constantFrom('stored', 'released', 'unknown') }), {
        find: (history, choice) =>
          history.nthUpload(
            choice.nth,
            (one) => one.state === 'settled' || (one.state === 'unknown' && choice.outcome === 'unknown'),
          ),
        run: async (_history, { reservation, bytes }, { outcome }) =>
          await reservation.settle(outcome, bytes),
      }),
      kind(1, 'settle wrongly', fc.record({ nth, storedBytes: fc.option(noAmount) }), {
        find: (history, choice) => history.nthUpload(choice.nth, unsettled),
        run: async (_history, { reservation, bytes }, { storedBytes }) =>
          await assert.rejects(reservation.settle('stored', storedBytes ?? bytes + 1), RangeError),
      }),
      kind(1, 'grow when settled', nth, {
        find: (history, choice) => history.nthUpload(choice, ({ state }) => state !== 'live'),
        run: async (_history, { reservation }) =>
          await assert.rejects(reservation.grow(1, 0, true), /cannot grow/),
      }),
      kind(1, 'claim twice', fc.record({ nth, enforce }), {
        find: (history, choice) => history.nthUpload(choice.nth, unsettled),
        async run(history, { claim }, choice) {
          const again = { ...claim, bytes: 0, leastBytes: 0, enforce: choice.enforce };
          const answer = history.nthGateway(choice.nth).ledger.reserve(again);
          await assert.rejects(answer, /exists already/);
        },
      }),
      kind(5, 'begin reading', fc.record({ nth, account }), {
        find: (history, choice) => history.nthGateway(choice.nth),
        async run(history, gateway, choice) {
          await beginReading(history, gateway, choice.account);
        },
      }),
      // a reading tells what the API held at one moment between its begin and its end, at the latest at its end
      kind(3, 'look', nth, {
        find: (history, choice) => history.nthReading(choice, ({ seenBytes }) => seenBytes === null),
        async run(history, reading) {
          history.looked(reading);
        },
      }),
      kind(5, 'end reading', nth, {
        find: (history, choice) => history.nthReading(choice, ({ ended }) => !ended),
        run: endReading,
      }),
      kind(2, 'end reading again', fc.record({ nth, bytes: fc.nat({ max: 200 }) }), {
        find: (history, choice) => history.nthReading(choice.nth, ({ ended }) => ended),
        run: async (_history, { reading }, { bytes }) => await reading.end(bytes),
      }),
      kind(1, 'end reading wrongly', fc.record({ nth, storedBytes: noAmount }), {
        find: (history, choice) => history.nthReading(choice.nth, () => true),
        run: async (_history, { reading }, { storedBytes }) =>
          await assert.rejects(reading.end(storedBytes), RangeError),
      }),
      kind(3, 'delete', nth, {
        find: (history, choice) => history.nthImage(choice, ({ deleted }) => !deleted),
        run: async (_history, image: Image) => {
          image.deleted = true;
        },
      }),
      kind(1, 'store elsewhere', fc.record({ account, bytes: fc.integer({ min: 1, max: 30 }) }), {
        find: (_history, choice) => (paysForStored(choice.account) ? choice : undefined),
        run: async (history, choice) => history.storedElsewhere(choice.account, choice.bytes),
      }),
      kind(1, 'configure', fc.record({ account, limits }), {
        find: (_history, choice) => choice,
        run: async (history, choice) => history.configured(choice.account, choice.limits),
      }),
      kind(2, 'wait', fc.integer({ min: 1, max: 100_000 }), {
        find: (_history, choice) => choice,
        run: async (history, waitMs) => {
          history.nowMs += waitMs;
        },
      }),
      kind(1, 'crash', nth, {
        find: (history, choice) => history.nthGateway(choice),
        async run(history, gateway, _choice, { store }) {
          await store.crash(gateway.ledger);
          if (store.expire === null) history.lost(gateway);
          else history.crashed(gateway);
          history.joined(await store.join());
        },
      }),
      kind(1, 'expire', nth, {
        find: (history, choice) => history.nthSilent(choice),
        run: async (history, gateway, _choice, { store }) => await expire(history, gateway, store),
      }),
    ),
  ],
  // fast-check would rather try short ones; here it takes many steps until something stands in another's way
  { maxCommands: 120, size: 'max' },
);

async function settleAs(
  history: LedgerHistory,
  upload: Upload,
  outcome: 'stored' | 'released' | 'unknown',
): Promise<void> {
  await upload.reservation.settle(outcome, upload.image?.bytes ?? 0);
  history.settled(upload, outcome);
}

/** As the image's status says. @param deletedIsStored true takes an image that was stored and deleted since for stored. */
async function settleForGood(
  history: LedgerHistory,
  upload: Upload,
  deletedIsStored: boolean,
): Promise<void> {
  const isStored = upload.image !== null && (deletedIsStored || !upload.image.deleted);
  await settleAs(history, upload, isStored ? 'stored' : 'released');
}

async function beginReading(history: LedgerHistory, gateway: Gateway, ofAccount: string): Promise<Reading> {
  return history.begun(ofAccount, gateway, await gateway.ledger.beginReading(ofAccount));
}

async function endReading(history: LedgerHistory, reading: Reading): Promise<void> {
  const seenBytes = reading.seenBytes ?? history.looked(reading);
  const mayBeOlderNews = history.mayBeOlderNews(reading);
  await reading.reading.end(seenBytes);
  const unknown = mayBeOlderNews && (await reading.gateway.ledger.readingAgeMs(reading.account)) === null;
  history.ended(reading, unknown);
}

async function expire(history: LedgerHistory, gateway: Gateway, { expire: run }: Store): Promise<void> {
  if (run === null) throw new Error('a gateway is silent, and there are no leases');
  await run(gateway.ledger);
  history.expired(gateway);
}

/** Whether every gateway says what the history says, and the promises hold. */
async function compare(history: LedgerHistory): Promise<void> {
  const { gateways } = history;
  for (const gateway of gateways) {
    if (gateway.state !== 'working') continue;
    assert.equal(gateway.ledger.savingBytes(), history.savingOf(gateway), 'bytes in flight of a gateway');
    assert.equal(gateway.ledger.uploads(), history.uploadsOf(gateway), 'uploads of a gateway');
  }
  for (const { reservation, bytes, state } of history.uploads) {
    if (state === 'live') assert.equal(reservation.bytes, bytes, `bytes of ${reservation.id}`);
  }
  const { ledger } = history.nthGateway(0);
  for (const name of history.accounts) {
    const ageMs = await ledger.readingAgeMs(name);
    const countedBytes = await countedIn(ledger, name);
    if (ageMs === null && countedBytes === 0 && history.mayForget(name)) history.forgotten(name);
    assert.equal(ageMs, history.readingAgeMs(name), `age of the reading of ${name}`);
    assert.equal(countedBytes, history.countedIn(name), `bytes counted in ${name}`);
    assert.equal(await savingIn(ledger, name), history.savingIn(name), `bytes in flight in ${name}`);
    await assertUploadsIn(ledger, name, history.uploadsIn(name));
    history.checkPromises(name);
  }
}

/** When all is settled and read once more, exactly what the API holds is counted, and nothing is in flight. */
async function finish(history: LedgerHistory, store: Store): Promise<void> {
  for (const gateway of history.gateways) {
    if (gateway.state === 'silent') await expire(history, gateway, store);
  }
  for (const upload of history.uploads.filter(unsettled)) {
    history.nextMoment();
    await settleForGood(history, upload, true);
  }
  const gateway = history.nthGateway(0);
  for (const name of history.accounts) {
    history.nextMoment();
    const reading = await beginReading(history, gateway, name);
    await endReading(history, reading);
    await compare(history);
    const heldBytes = history.heldByApi(name);
    assert.equal(await countedIn(gateway.ledger, name), heldBytes, `bytes of ${name} at the end`);
    assert.equal(await savingIn(gateway.ledger, name), 0, `bytes in flight in ${name} at the end`);
    await assertUploadsIn(gateway.ledger, name, 0);
  }
  assert.equal(gateway.ledger.savingBytes(), 0, 'bytes in flight at the end');
  assert.equal(gateway.ledger.uploads(), 0, 'uploads at the end');
}

export interface ModelRun {
  /** How often each kind of command ran. */
  readonly ran: ReadonlyMap<string, number>;
  /** What went wrong, with the shortest way there and the seed; null = nothing. */
  readonly failure: string | null;
}

/** Runs the model against an engine, in sequences of up to 120 commands. @param seed a whole number of 32 bits. */
export async function runLedgerModel(engine: Engine, seed: number, sequences: number): Promise<ModelRun> {
  const ran = new Map<string, number>();
  const property = fc.asyncProperty(commands, async (steps) => {
    let nowMs = (): number => 0;
    const store = await engine.open(() => nowMs());
    const history = new LedgerHistory(accounts, engine.forgets);
    nowMs = () => history.nowMs;
    try {
      for (let joined = 0; joined < engine.gateways; joined += 1) history.joined(await store.join());
      await fc.asyncModelRun(async () => ({ model: history, real: { store, ran, lastId: 0 } }), steps);
      await finish(history, store);
    } finally {
      await store.close();
    }
  });
  const details = await fc.check(property, { seed, numRuns: sequences });
  if (!details.failed) return { ran, failure: null };
  const { errorInstance: cause } = details;
  const what = cause instanceof Error ? cause.message : String(cause);
  return {
    ran,
    failure: `${what}\n${fc.defaultReportMessage(details)}\nSLUICE_MODEL_SEED=${seed} does it again`,
  };
}

/** The seed that `SLUICE_MODEL_SEED` sets, or one that nobody chose. */
export function modelSeed({ SLUICE_MODEL_SEED: set }: NodeJS.ProcessEnv): number {
  if (set === undefined) return Math.floor(Math.random() * 2 ** 31);
  return z.coerce
    .number()
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1)
    .parse(set);
}

/** The model in a length for every day. Every engine runs it. */
export function describeLedgerModel(engine: Engine, sequences: number): void {
  describe(`the ledger in ${engine.name}`, () => {
    it('is exact whatever happens in whatever order', async () => {
      const { failure } = await runLedgerModel(engine, modelSeed(process.env), sequences);
      if (failure !== null) assert.fail(failure);
    });
  });
}
