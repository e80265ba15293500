import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Config } from '../../src/config/config.ts';
import { defaultConfig } from '../../src/config/load.ts';
import type { WrittenOptions } from '../../src/config/options.ts';
import { type Governed, Lifetime } from '../../src/lifetime.ts';
import { createLog } from '../../src/log.ts';
import { eventually } from '../support/eventually.ts';

/** A promise that the test keeps. */
class Gate {
  readonly opened: Promise<void>;
  open = (): void => {};
  constructor() {
    this.opened = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

describe('the lifetime of a process', () => {
  let signals: EventEmitter;
  let done: string[];
  /** What the service manager was told. */
  let told: string[];
  let lines: { msg: string; level: string; keys?: string[] }[];
  let started: Gate;
  let drained: Gate;
  let cleaned: Gate;
  let lifetime: Lifetime;
  const log = createLog('info', { write: (line: string) => lines.push(JSON.parse(line)) });
  const said = (): string[] => lines.map(({ msg }) => msg);
  const withSize = (max_size: number, more: WrittenOptions = {}): Config =>
    defaultConfig({ upload: { max_size }, ...more });

  const gateway: Governed = {
    start: async () => {
      await started.opened;
      done.push('started');
    },
    reload: (config) => {
      done.push(`reloaded ${config.upload.maxBytes}`);
      return { needRestart: config.upload.maxBytes === 99 ? ['listen'] : [] };
    },
    reloadFailed: () => done.push('reload failed'),
    drain: async () => {
      done.push('drain');
      await drained.opened;
    },
    stopNow: async () => {
      done.push('stop now');
      drained.open();
    },
  };
  const serve = (readConfig: () => Promise<Config | null> = async () => withSize(1)): Promise<void> =>
    lifetime.serve({
      gateway,
      log,
      manager: {
        ready: () => told.push('ready'),
        reloading: () => told.push('reloading'),
        stopping: () => told.push('stopping'),
      },
      readConfig,
      atEnd: async () => {
        done.push('clean-up');
        await cleaned.opened;
        done.push('clean');
      },
    });

  beforeEach(() => {
    log.level = 'info';
    signals = new EventEmitter();
    done = [];
    told = [];
    lines = [];
    started = new Gate();
    drained = new Gate();
    cleaned = new Gate();
    lifetime = new Lifetime(signals);
    started.open();
  });

  it('keeps a SIGHUP that comes during the start until it serves', async () => {
    started = new Gate();
    const served = serve();
    signals.emit('SIGHUP');
    assert.deepEqual(done, []);
    started.open();
    await served;
    await eventually(() => assert.deepEqual(done, ['started', 'reloaded 1']));
  });

  it('keeps a SIGTERM that comes during the start until it serves, and then drains', async () => {
    started = new Gate();
    const served = serve();
    signals.emit('SIGTERM');
    started.open();
    await served;
    assert.deepEqual(done, ['started', 'drain']);
    assert.deepEqual(told, ['ready', 'stopping']);
    drained.open();
    cleaned.open();
    await lifetime.ended;
  });

  it('reads the file once at a time, and once more after the last of many SIGHUPs', async () => {
    const gates: Gate[] = [];
    await serve(async () => {
      const number = gates.length;
      const gate = new Gate();
      gates.push(gate);
      await gate.opened;
      return withSize(number);
    });
    signals.emit('SIGHUP');
    await eventually(() => gates.length === 1);
    signals.emit('SIGHUP');
    signals.emit('SIGHUP');
    await new Promise(setImmediate);
    assert.equal(gates.length, 1, 'the second reading waits for the first');
    gates[0]?.open();
    await eventually(() => gates.length === 2);
    gates[1]?.open();
    await eventually(() => assert.deepEqual(done, ['started', 'reloaded 0', 'reloaded 1']));
    assert.equal(gates.length, 2, 'two signals that waited are one reading');
  });

  it('refuses a SIGHUP during a drain, and says so', async () => {
    await serve(async () => assert.fail('nothing is read'));
    signals.emit('SIGTERM');
    signals.emit('SIGHUP');
    await eventually(() => said().includes('reload refused: the gateway is shutting down'));
    assert.deepEqual(done, ['started', 'drain']);
  });

  it('drops what it has read when a drain began meanwhile', async () => {
    const read = new Gate();
    await serve(async () => {
      await read.opened;
      return withSize(1);
    });
    signals.emit('SIGHUP');
    signals.emit('SIGTERM');
    read.open();
    await eventually(() => said().includes('reload refused: the gateway is shutting down'));
    assert.deepEqual(done, ['started', 'drain']);
    assert.deepEqual(told, ['ready', 'reloading', 'stopping'], 'it is not ready again');
  });

  it('tells the gateway of a file that is wrong', async () => {
    await serve(async () => null);
    signals.emit('SIGHUP');
    await eventually(() => assert.deepEqual(told, ['ready', 'reloading', 'ready']));
    assert.deepEqual(done, ['started', 'reload failed']);
    assert.equal(said().includes('reloaded'), false);
  });

  it('sets the level of the log, and says which keys need a restart', async () => {
    let next = withSize(99);
    await serve(async () => next);
    signals.emit('SIGHUP');
    await eventually(() => lines.some(({ keys }) => keys?.join() === 'listen'), 'the key is named');
    assert.equal(lines.find(({ keys }) => keys !== undefined)?.level, 'warn');
    next = withSize(1, { log: { level: 'debug' } });
    signals.emit('SIGHUP');
    await eventually(() => assert.equal(log.level, 'debug'));
    assert.deepEqual(said(), [
      'reloaded',
      'these keys have changed, and need a restart to take effect',
      'reloaded',
    ]);
  });

  for (const [signal, how] of [
    ['SIGTERM', ['drain', 'stop now']],
    ['SIGINT', ['stop now']],
  ] as const) {
    it(`ends at once on a second ${signal}, cleans up once, and is over when that is done`, async () => {
      let over = false;
      void lifetime.ended.then(() => {
        over = true;
      });
      await serve();
      signals.emit(signal);
      signals.emit(signal);
      signals.emit(signal);
      await eventually(() => done.includes('clean-up'));
      await new Promise(setImmediate);
      assert.equal(over, false, 'the clean-up is waited for');
      cleaned.open();
      await lifetime.ended;
      assert.deepEqual(done, ['started', ...how, 'clean-up', 'clean']);
    });
  }
});
