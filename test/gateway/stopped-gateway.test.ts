import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/running-gateway.ts';

describe('a gateway that is stopped', () => {
  it('is kept by nothing in its process', async () => {
    setFlagsFromString('--expose-gc');
    const collect = z.custom<() => void>((value) => typeof value === 'function').parse(runInNewContext('gc'));
    const gone = new Set<string>();
    const registry = new FinalizationRegistry((name: string) => gone.add(name));
    const startAndStop = async (): Promise<void> => {
      const running = await startGateway({
        upstream: { servers: ['http://127.0.0.1:1'], health: { interval: 0 } },
      });
      registry.register(running.gateway, 'gateway');
      await running.metric('sluice_saving_bytes');
      await running.stop();
    };
    await startAndStop();
    await eventually(() => {
      collect();
      return gone.has('gateway');
    });
  });
});
