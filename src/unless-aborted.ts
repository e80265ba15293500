/** What the promise brings, or the reason of the signal if that comes first. Leaves nothing on the signal. */
export function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      signal.removeEventListener('abort', onAbort);
      reject(signal.reason);
    };
    // told even where nobody is left to hear of it: a failure would end the process
    promise.then(
      (brought) => {
        signal.removeEventListener('abort', onAbort);
        resolve(brought);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', onAbort);
  });
}
