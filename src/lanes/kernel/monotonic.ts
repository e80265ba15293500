/** Milliseconds of a clock that never goes back, the same one in every thread; `performance.now` is each thread's own. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6;
}
