import assert from 'node:assert/strict';
import { type AccountLimits, unlimited } from '../../src/core/account.ts';
import type { Ledger, RefusedClaim } from '../../src/ledger/ledger.ts';

/** Larger than anything a test counts: a claim of one byte more is always refused, and what it says remains tells what is counted. */
const probeBytes = 1e9;

/** What the ledger answers to a claim that cannot be granted, and so changes nothing. */
async function refused(
  ledger: Ledger,
  account: string,
  limits: Partial<AccountLimits>,
): Promise<RefusedClaim> {
  const answer = await ledger.reserve({
    id: 'probe',
    charges: [{ account, limits: { ...unlimited, ...limits }, paysForStored: true }],
    bytes: probeBytes + 1,
    leastBytes: probeBytes + 1,
    enforce: true,
  });
  if ('granted' in answer)
    assert.fail(`${account} was granted more than its limit: ${JSON.stringify(limits)}`);
  return answer.refused;
}

/** What counts against the total of an account, as the contract lets anybody see it. */
export async function countedIn(ledger: Ledger, account: string): Promise<number> {
  return probeBytes - (await refused(ledger, account, { totalBytes: probeBytes })).remaining;
}

/** What counts against the limit of bytes in flight. */
export async function savingIn(ledger: Ledger, account: string): Promise<number> {
  return probeBytes - (await refused(ledger, account, { savingBytes: probeBytes })).remaining;
}

/** One more than the places taken is enough, the places taken are not. */
export async function assertUploadsIn(ledger: Ledger, account: string, uploads: number): Promise<void> {
  const { limit } = await refused(ledger, account, { uploads: uploads + 1, totalBytes: probeBytes });
  assert.equal(limit, 'total', `${account} has more than ${uploads} uploads`);
  assert.deepEqual(
    await refused(ledger, account, { uploads, totalBytes: probeBytes }),
    { account, limit: 'uploads', requested: 1, remaining: 0, allowed: uploads },
    `${account} has fewer than ${uploads} uploads`,
  );
}
