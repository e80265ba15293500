import { isIP, isIPv4, isIPv6 } from 'node:net';
import { z } from 'zod';
import { parseDuration, parseSize } from '../core/units.ts';

// The values a configuration file is made of. Each is a codec: it reads what people write and writes it
// back in readable units. Its error message begins with "expected", to which the inspection adds what was got.

/** What `docs/configuration.md` says about a key beyond its sentence. */
export interface ScalarFacts {
  /** The type in words, e.g. `duration`. */
  readonly type: string;
  /** Said in place of a default that depends on other keys. */
  readonly defaultText?: string;
}

export const scalarFacts = z.registry<ScalarFacts>();

const textUnits = (units: readonly string[]) => new RegExp(`^\\d+(?:\\.\\d+)? ?(?:${units.join('|')})?$`);

const durationPattern = textUnits(['ms', 's', 'm', 'h']);
const sizePattern = textUnits(['B', 'KB', 'MB', 'GB', 'TB', 'KiB', 'MiB', 'GiB', 'TiB']);

const numberOrText = (pattern: RegExp, expected: string) =>
  z.union(
    [
      z.number({ error: expected }).min(0, { error: expected }),
      z.string({ error: expected }).regex(pattern, { error: expected }),
    ],
    { error: expected },
  );

/** A duration; the value is whole milliseconds. */
export function duration({ min = 0 }: { readonly min?: number } = {}) {
  const expected = `expected a duration${min > 0 ? ' above 0' : ''} (seconds, or 250ms 30s 15m 2h; at most 596h)`;
  return z
    .codec(numberOrText(durationPattern, expected), z.number(), {
      decode: (written, context) => {
        const ms = parseDuration(written);
        if (ms !== null && ms >= min) return ms;
        context.issues.push({ code: 'custom', message: expected, input: written });
        return z.NEVER;
      },
      encode: writeDuration,
    })
    .register(scalarFacts, { type: 'duration' });
}

/** A size; the value is whole bytes. */
export function size({ min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}) {
  const range =
    min > 0 || max < Number.MAX_SAFE_INTEGER ? ` from ${writeSize(min)} to ${writeSize(max)}` : '';
  const expected = `expected a size${range} (bytes, or 64KiB 4MiB 10GiB 4MB)`;
  return z
    .codec(numberOrText(sizePattern, expected), z.number(), {
      decode: (written, context) => {
        const bytes = parseSize(written);
        if (bytes !== null && bytes >= min && bytes <= max) return bytes;
        context.issues.push({ code: 'custom', message: expected, input: written });
        return z.NEVER;
      },
      encode: writeSize,
    })
    .register(scalarFacts, { type: `size${range}` });
}

/** A whole number of things. */
export function count({ min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}) {
  const range = max < Number.MAX_SAFE_INTEGER ? `from ${min} to ${max}` : `of ${min} or more`;
  const error = `expected a whole number ${range}`;
  return z
    .int({ error })
    .min(min, { error })
    .max(max, { error })
    .register(scalarFacts, { type: `whole number ${range}` });
}

export const flag = () =>
  z.boolean({ error: 'expected true or false' }).register(scalarFacts, { type: 'true or false' });

/** One of a few words. */
export const choice = <const T extends readonly [string, ...string[]]>(words: T) =>
  z
    .enum(words, { error: `expected ${words.length > 1 ? 'one of ' : ''}${words.join(', ')}` })
    .register(scalarFacts, { type: words.map((word) => `\`${word}\``).join(', ') });

/** Text that is not empty, of one line. */
export function text(what: string, pattern = /^[^\0\r\n]+$/) {
  const error = `expected ${what}`;
  return z.string({ error }).regex(pattern, { error }).register(scalarFacts, { type: what });
}

/** The name of an HTTP header (RFC 9110 §5.1), as written. */
export const headerName = () => text('the name of a header', /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/);

const addressExpected = 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"';

const listenAddress = z.union([
  z.object({ host: z.string(), port: z.number() }),
  z.object({ path: z.string() }),
]);

/** Where a listener waits. */
export const address = () =>
  z
    .codec(z.string({ error: addressExpected }), listenAddress, {
      decode: (written, context) => {
        const read = readAddress(written);
        if (typeof read !== 'string') return read;
        context.issues.push({ code: 'custom', message: read, input: written });
        return z.NEVER;
      },
      encode: writeAddress,
    })
    .register(scalarFacts, { type: 'address' });

/** The longest path of a unix socket on Linux, `sun_path` without its closing zero byte: unix(7). */
const longestSocketPathBytes = 107;

/** The address, or what is wrong with it. */
function readAddress(written: string): z.output<typeof listenAddress> | string {
  if (written.startsWith('unix:')) {
    const path = written.slice('unix:'.length);
    if (!path.startsWith('/') || path.includes('\0')) return `${addressExpected} with a path from the root`;
    return Buffer.byteLength(path) <= longestSocketPathBytes
      ? { path }
      : `the path of a unix socket has at most ${longestSocketPathBytes} bytes`;
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(written);
  if (match === null) return addressExpected;
  const [, six, host = six ?? '', digits] = match;
  const port = Number(digits);
  if (port > 65_535) return 'expected a port from 0 to 65535';
  if (six !== undefined) return isIPv6(six) ? { host: six, port } : addressExpected;
  if (!isHost(host)) return addressExpected;
  return { host, port };
}

/** What looks like an IPv4 address must be one: `127.1` and `300.0.0.1` are typing errors. */
const isHost = (host: string): boolean =>
  /^[\d.]+$/.test(host)
    ? isIPv4(host)
    : host.length <= 253 && /^[a-z\d](?:[a-z\d_-]*[a-z\d])?(?:\.[a-z\d](?:[a-z\d_-]*[a-z\d])?)*$/i.test(host);

/** The address as the file has it, which is also how people are told of it. */
export function writeAddress(listening: z.output<typeof listenAddress>): string {
  if ('path' in listening) return `unix:${listening.path}`;
  const { host, port } = listening;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

const networkExpected = 'expected an address or a network, e.g. 10.0.0.0/8 or ::1, or unix';

/** A network in CIDR notation, one address, or `unix`: whoever comes over a unix socket. */
export const network = () =>
  z
    .string({ error: networkExpected })
    .refine(isNetwork, { error: networkExpected })
    .register(scalarFacts, { type: 'network or `unix`' });

function isNetwork(written: string): boolean {
  if (written === 'unix') return true;
  const match = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(written);
  const family = isIP(match?.[1] ?? '');
  return family !== 0 && Number(match?.[2] ?? 0) <= (family === 4 ? 32 : 128);
}

const originExpected = 'expected "http://HOST:PORT"';

/** The origin of an upstream server. */
export const origin = () =>
  z
    .codec(z.string({ error: originExpected }), z.instanceof(URL), {
      decode: (written, context) => {
        const read = readOrigin(written);
        if (read instanceof URL) return read;
        context.issues.push({ code: 'custom', message: read, input: written });
        return z.NEVER;
      },
      encode: (url) => url.origin,
    })
    .register(scalarFacts, { type: 'origin' });

function readOrigin(written: string): URL | string {
  if (/^https:\/\//i.test(written)) return 'https to the upstream is not built yet';
  const match = /^http:\/\/([^/?#\\\s]*)(.*)$/is.exec(written);
  if (match === null || !URL.canParse(written)) return originExpected;
  const [, authority = '', rest = ''] = match;
  if (authority.includes('@')) return 'a server has no user or password in its address';
  if (rest !== '' && rest !== '/') return `${originExpected} with no path, query or fragment`;
  const url = new URL(written);
  return url.port === '0' ? 'expected a port from 1 to 65535' : url;
}

/** An `http` or `https` address without user, password, query or fragment. */
export const webAddress = () => {
  const error = 'expected the address of a service, e.g. "http://127.0.0.1:5000/v3"';
  return z
    .string({ error })
    .refine((written) => /^https?:\/\/[^/?#@\\\s]+(?:\/[^?#\s]*)?$/i.test(written) && URL.canParse(written), {
      error,
    })
    .register(scalarFacts, { type: 'URL' });
};

const durationUnits = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** Milliseconds as a file states them: in the largest unit that leaves a whole number. */
export function writeDuration(ms: number): string | number {
  if (ms === 0) return 0;
  const [unit, unitMs] = durationUnits.find(([, each]) => ms % each === 0) ?? ['ms', 1];
  return `${ms / unitMs}${unit}`;
}

const sizeUnits = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

/** Bytes as a file states them: in the largest binary unit that leaves a whole number. */
export function writeSize(bytes: number): string | number {
  const unit = sizeUnits.find(([, each]) => bytes > 0 && bytes % each === 0);
  return unit === undefined ? bytes : `${bytes / unit[1]}${unit[0]}`;
}

/** A mapping that refuses the keys it does not know. */
export const mapping = <const Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? 'expected a mapping' : undefined),
  });

/** A list. `atLeastOne` names what an empty list lacks. */
export const list = <Item extends z.ZodType>(item: Item, atLeastOne?: string) => {
  const items = z.array(item, { error: 'expected a list' });
  return atLeastOne === undefined ? items : items.min(1, { error: `expected at least one ${atLeastOne}` });
};
