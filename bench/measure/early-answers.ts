import { MiB } from '../../src/core/units.ts';
import { type Haste, HastyUpstream } from '../../test/support/hasty-upstream.ts';
import { hearsAnswer, withBodyFile } from '../early-answers/hears-answer.ts';
import { imageRecord } from './image-record.ts';
import type { OpenWorkload, Workload } from './workload.ts';

const answer = { status: 413, says: 'refused by the upstream' } as const;
const bodyBytes = 20 * MiB;
const framings = ['length', 'chunked'] as const;

/** Uploads by curl to an origin that refuses at the head and is gone: of how many does curl read the answer? */
export function earlyAnswers(
  departure: Haste['departure'],
  uploadsInARound: number,
  name: string,
  title: string,
): Workload {
  return {
    name,
    title,
    figures: [{ key: 'heard', title: 'answers delivered', unit: '%', better: 'more', plotted: true }],
    async prove(contender) {
      const origin = await hasty('closes', bodyBytes);
      try {
        const running = await contender.start({ originPort: origin.port });
        try {
          await withBodyFile(bodyBytes, async (file) => {
            const heard = await hearsAnswer(running.port, file, 'length', answer);
            if (!heard) throw new Error('not even an answer after the whole body is delivered');
          });
        } finally {
          await running.stop();
        }
      } finally {
        await origin.stop();
      }
    },
    async open(): Promise<OpenWorkload> {
      const origin = await hasty(departure, 0);
      return {
        originPort: origin.port,
        rounds: (running) => async () => {
          let heard = 0;
          await withBodyFile(bodyBytes, async (file) => {
            for (let i = 0; i < uploadsInARound; i += 1) {
              const framing = framings[i % framings.length] ?? 'length';
              if (await hearsAnswer(running.port, file, framing, answer)) heard += 1;
            }
          });
          return { heard: (heard / uploadsInARound) * 100 };
        },
        close: () => origin.stop(),
      };
    },
  };
}

const hasty = (departure: Haste['departure'], readsBytes: number): Promise<HastyUpstream> =>
  HastyUpstream.start({ ...answer, readsBytes, departure, toGet: imageRecord });
