import assert from 'node:assert/strict';
import { type ErrorCode, GatewayError } from '../../src/core/errors.ts';

/** Asserts that the gateway refuses with exactly this code. */
export function assertRefuses(code: ErrorCode, act: () => unknown, what: string): void {
  assert.throws(
    act,
    (error: unknown) => {
      assert.ok(error instanceof GatewayError, `${what}: ${String(error)}`);
      assert.equal(error.code, code, what);
      return true;
    },
    `${what} is not refused`,
  );
}
