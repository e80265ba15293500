/** Resolves after a time, or at once when told to stop; keeps no process alive. */
export function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    stop.addEventListener('abort', done);
    if (stop.aborted) done();
  });
}
