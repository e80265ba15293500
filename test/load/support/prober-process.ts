// Asks for one page every 100 ms, each time on a connection of its own, until its input ends; then prints how often it was
// answered, what failed, and the longest answer in milliseconds. Argument: the URL.
import { get } from 'node:http';

const [url = ''] = process.argv.slice(2);
const patienceMs = 10_000;
const failures: string[] = [];
let answered = 0;
let longestMs = 0;

const probe = (): Promise<void> =>
  new Promise((resolve) => {
    const beganMs = performance.now();
    const failed = (why: string): void => {
      failures.push(why);
      resolve();
    };
    const asked = get(url, { agent: false, timeout: patienceMs }, (response) => {
      response.resume().on('end', () => {
        if (response.statusCode !== 200) return failed(`status ${response.statusCode}`);
        answered += 1;
        longestMs = Math.max(longestMs, performance.now() - beganMs);
        resolve();
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${patienceMs} ms`)));
    asked.on('error', ({ message }) => failed(message));
  });

const under: Promise<void>[] = [];
const asking = setInterval(() => under.push(probe()), 100);
process.stdin.resume().on('end', async () => {
  clearInterval(asking);
  await Promise.all(under);
  console.log(JSON.stringify({ answered, failures, longestMs: Math.round(longestMs) }));
  process.exit(0);
});
