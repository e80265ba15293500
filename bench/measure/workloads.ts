import { KiB, MiB } from '../../src/core/units.ts';
import { earlyAnswers } from './early-answers.ts';
import { heldUploads } from './held-uploads.ts';
import { smallRequests } from './small-requests.ts';
import { transfer } from './transfer.ts';
import type { Workload } from './workload.ts';

/** How much of each is done. */
export interface WorkloadSize {
  /** Of one contender in one round. */
  readonly roundSeconds: number;
  /** Held at once. */
  readonly heldUploads: number;
  /** Refused early, in one round. */
  readonly earlyAnswers: number;
}

/** Bodies at once. */
const connections = 4;

/** Everything that proxies are compared by, in the order of the report. */
export function workloads(size: WorkloadSize): readonly Workload[] {
  const { roundSeconds } = size;
  const bodies = { bodyBytes: 64 * MiB, connections, keepAlive: true, roundSeconds, per: 'GB' } as const;
  return [
    transfer({
      ...bodies,
      name: 'uploads-length',
      title: `Uploads of 64 MiB by length, ${connections} at once`,
      kind: 'upload',
      frameBytes: 0,
    }),
    transfer({
      ...bodies,
      name: 'uploads-chunked',
      title: `Uploads of 64 MiB of unknown length in frames of 64 KiB, ${connections} at once`,
      kind: 'upload',
      frameBytes: 64 * KiB,
    }),
    transfer({
      ...bodies,
      name: 'uploads-chunked-1m',
      title: `Uploads of 64 MiB of unknown length in frames of 1 MiB, ${connections} at once`,
      kind: 'upload',
      frameBytes: MiB,
    }),
    transfer({
      ...bodies,
      name: 'downloads',
      title: `Downloads of 64 MiB by length, ${connections} at once`,
      kind: 'download',
      frameBytes: 0,
    }),
    transfer({
      ...bodies,
      name: 'uploads-small',
      title: `Uploads of 64 KiB by length, ${connections} at once, each on a connection of its own`,
      kind: 'upload',
      frameBytes: 0,
      bodyBytes: 64 * KiB,
      keepAlive: false,
      per: 'body',
    }),
    smallRequests({
      name: 'requests',
      title: 'Small requests by autocannon over 32 connections',
      connections: 32,
      roundSeconds,
    }),
    earlyAnswers(
      'closes',
      size.earlyAnswers,
      'early-answers-close',
      'Early answers of an origin that closes at once, uploads of 20 MiB by curl',
    ),
    earlyAnswers(
      'resets',
      size.earlyAnswers,
      'early-answers-reset',
      'Early answers of an origin that resets at once, uploads of 20 MiB by curl',
    ),
    heldUploads({
      name: 'held-length',
      title: `${size.heldUploads} uploads of known length, sent by half (64 KiB) and held`,
      uploads: size.heldUploads,
      frameBytes: 0,
    }),
    heldUploads({
      name: 'held-chunked',
      title: `${size.heldUploads} uploads of unknown length, sent by half (64 KiB) and held`,
      uploads: size.heldUploads,
      frameBytes: 64 * KiB,
    }),
  ];
}
