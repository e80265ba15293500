import type { Random } from './random.ts';
import type { StrictRequest } from './strict-request.ts';

export type Step =
  | { readonly write: Buffer }
  /** The answer is over before it. */
  | { readonly late: Buffer }
  | { readonly pauseMs: number }
  | { readonly end: 'fin' | 'reset' };

/** What one answer of the upstream is, and what a client may make of it. */
export interface AnswerPlan {
  readonly name: string;
  /** True: it begins as soon as the head of the request is there. */
  readonly early: boolean;
  readonly steps: readonly Step[];
  /**
   * `whole`: any client reads this status and body. `broken`: no client may take it for a whole answer. `loose`: one may
   * read it or not.
   */
  readonly reading: 'whole' | 'broken' | 'loose';
  readonly status: number;
  readonly body: Buffer;
  /** What may become of the connection: another request, its end (by us), or nothing any more. */
  readonly after: 'keep' | 'closed' | 'unusable';
}

/** The answer to a request that is nobody's case, or the gateway's own. */
export function plainAnswer(request: StrictRequest): AnswerPlan {
  const status = request.method === 'PUT' ? 204 : 404;
  const length = status === 204 ? '' : 'Content-Length: 0\r\n';
  const head = `HTTP/1.1 ${status} Plain\r\nX-Fuzz-Answer: plain\r\n${length}\r\n`;
  return {
    ...{ name: 'plain', early: false, reading: 'whole', status, body: Buffer.alloc(0), after: 'keep' },
    steps: [{ write: Buffer.from(head) }],
  };
}

interface Normal {
  readonly status: number;
  readonly fields: string;
  readonly body: Buffer;
}

export function answerPlan(random: Random, request: StrictRequest, token: string): AnswerPlan {
  const bodiless = request.method === 'HEAD';
  const upload = request.method === 'PUT';
  const status = random.chance(0.15)
    ? random.pick([400, 401, 403, 404, 409, 413, 500, 503])
    : random.pick(upload || request.method === 'DELETE' ? [204] : [200, 200, 200, 201, 300]);
  const body =
    status === 204 || bodiless
      ? Buffer.alloc(0)
      : random.letters(random.chance(0.1) ? random.below(200_000) : random.below(2_000));
  const normal: Normal = { status, fields: `X-Fuzz-Answer: ${token}\r\nContent-Type: text/plain\r\n`, body };
  const drawn = random.chance(0.5)
    ? wholePlan(random, normal, bodiless)
    : random.pick(plans)(random, normal, bodiless);
  // the answer is over with its last byte, and the next request may come
  const steps = drawn.steps.filter((step) => !('write' in step) || step.write.length > 0);
  const plan = { ...drawn, steps };
  const after = plan.steps.some((step) => 'end' in step)
    ? 'closed'
    : plan.reading === 'broken'
      ? 'unusable'
      : plan.after;
  return { ...(plan.after === 'keep' && random.chance(0.3) ? inPieces(plan, random) : plan), after };
}

const text = (bytes: string): Step => ({ write: Buffer.from(bytes, 'latin1') });

function framed(random: Random, { status, fields, body }: Normal, bodiless: boolean): Buffer {
  const line = `HTTP/1.1 ${status} Fine\r\n${fields}`;
  if (status === 204) return Buffer.from(`${line}\r\n`);
  if (bodiless || random.chance(0.6)) {
    const head = Buffer.from(`${line}Content-Length: ${body.length}\r\n\r\n`);
    return bodiless ? head : Buffer.concat([head, body]);
  }
  return Buffer.concat([Buffer.from(`${line}Transfer-Encoding: chunked\r\n\r\n`), chunks(random, body)]);
}

function chunks(random: Random, body: Buffer): Buffer {
  const pieces = body.length === 0 ? [] : random.cut(body, 1 + random.below(3));
  return Buffer.concat([
    ...pieces.flatMap((piece) => [
      Buffer.from(`${piece.length.toString(16)}\r\n`),
      piece,
      Buffer.from('\r\n'),
    ]),
    Buffer.from('0\r\n\r\n'),
  ]);
}

function wholePlan(random: Random, normal: Normal, bodiless: boolean): AnswerPlan {
  const { status } = normal;
  const body = bodiless ? Buffer.alloc(0) : normal.body;
  return {
    ...{ name: 'whole', early: false, reading: 'whole', status, body, after: 'keep' },
    steps: [{ write: framed(random, normal, bodiless) }],
  };
}

type Planner = (random: Random, normal: Normal, bodiless: boolean) => AnswerPlan;

const broken = (name: string, steps: readonly Step[], normal: Normal): AnswerPlan => ({
  ...{ name, early: false, reading: 'broken', status: normal.status, body: normal.body, after: 'keep' },
  steps,
});

const loose = (name: string, steps: readonly Step[], normal: Normal): AnswerPlan => ({
  ...broken(name, steps, normal),
  reading: 'loose',
});

const ended = (random: Random): Step => ({ end: random.pick(['fin', 'reset']) });

/** Breaks the head: the line given stands in place of the status line, or the field beside the others. */
const headWith =
  (name: string, reading: 'broken' | 'loose', lines: readonly string[]): Planner =>
  (random, normal) => {
    const line = random.pick(lines);
    const isField = !/^ ?(?:HT|IC|SI|\0)/.test(line);
    const head = `${isField ? `HTTP/1.1 ${normal.status} Fine\r\n${line}` : line}\r\n${normal.fields}`;
    const steps = [
      text(`${head}Content-Length: ${normal.body.length}\r\n\r\n`),
      { write: normal.body },
      ...(random.chance(0.7) ? [ended(random)] : []),
    ];
    return { ...broken(`${name} ${JSON.stringify(line.slice(0, 40))}`, steps, normal), reading };
  };

/** Other framing than the usual. */
const framedWith =
  (name: string, reading: 'broken' | 'loose', fields: readonly string[], closes: boolean): Planner =>
  (random, normal, bodiless) => {
    const field = random.pick(fields).replaceAll('LENGTH', String(normal.body.length));
    const head = `HTTP/1.1 200 Odd\r\n${normal.fields}${field}\r\n\r\n`;
    const steps = [
      text(head),
      { write: normal.body },
      ...(closes || random.chance(0.5) ? [ended(random)] : []),
    ];
    const odd = { ...broken(`${name} ${JSON.stringify(field)}`, steps, normal), reading };
    return bodiless ? { ...odd, reading: 'loose' } : odd;
  };

const oddChunks: readonly string[] = [
  'zz\r\nabc\r\n0\r\n\r\n',
  '-3\r\nabc\r\n0\r\n\r\n',
  '0x3\r\nabc\r\n0\r\n\r\n',
  '3 3\r\nabc\r\n0\r\n\r\n',
  '\r\nabc\r\n0\r\n\r\n',
  'fffffffffffffffff\r\nabc',
  '3\r\nabcXX0\r\n\r\n',
  '3\r\nabcd\r\n0\r\n\r\n',
  '+3\r\nabc\r\n0\r\n\r\n',
  '3\r\nabc\r\n',
  '3\r\nabc\r\n0\r\n',
  '3\r\nab',
  '3\r\nabc\r\n5\r\nabc',
  '20000000000000\r\nabc',
];

const plans: readonly Planner[] = [
  headWith('status line', 'broken', [
    'HTTP/1.1 20 x',
    'HTTP/1.1 2000 x',
    'HTP/1.1 200 x',
    'HTTP/1.1200 x',
    'ICY 200 x',
    'HTTP/1.1 x',
    'HTTP/9.9 200 x',
    'HTTP/1.1 -20 x',
    'SIP/2.0 200 x',
    '\0HTTP/1.1 200 x',
    'HTTP/1.1  200 x',
  ]),
  headWith('status line', 'loose', [
    'HTTP/1.0 200 x',
    'HTTP/1.1 999 x',
    'HTTP/1.1 200',
    'HTTP/1.1 200 \xff',
    ' HTTP/1.1 200 x',
    'HTTP/2.0 200 x',
    'HTTP/1.1 099 x',
    'HTTP/1.1 600 x',
    'HTTP/1.1 000 x',
  ]),
  headWith('field', 'broken', ['No colon', 'X: a\0b', 'X\0: y', ': no name', 'X Y: z']),
  headWith('field', 'loose', [
    ' folded: x',
    'X: a\nY: b',
    'X : y',
    'X: \x01',
    'Connection: X-Fuzz-Answer',
    'Connection: Content-Length',
    'Keep-Alive: timeout=0',
    'Upgrade: h2c',
    'Trailer: X',
    'X:',
    'Proxy-Authenticate: Basic',
    'Connection: upgrade',
    'X: a\rb',
  ]),
  framedWith(
    'two lengths',
    'broken',
    [
      'Content-Length: LENGTH\r\nContent-Length: 1',
      'Content-Length: 1\r\nContent-Length: LENGTH0',
      'Content-Length: 1, 2',
    ],
    false,
  ),
  framedWith(
    'the length twice',
    'loose',
    [
      'Content-Length: LENGTH\r\nContent-Length: LENGTH',
      'Content-Length: LENGTH, LENGTH',
      'Content-Length:  LENGTH ',
    ],
    false,
  ),
  framedWith(
    'length',
    'broken',
    [
      'Content-Length: +5',
      'Content-Length: -1',
      'Content-Length: 0x5',
      'Content-Length: 99999999999999999999',
      'Content-Length: LENGTH000001',
      'Content-Length: 1e5',
    ],
    true,
  ),
  framedWith(
    'length and coding',
    'broken',
    [
      'Content-Length: LENGTH\r\nTransfer-Encoding: chunked',
      'Transfer-Encoding: chunked\r\nContent-Length: LENGTH',
    ],
    true,
  ),
  framedWith(
    'coding',
    'loose',
    [
      'Transfer-Encoding: gzip',
      'Transfer-Encoding: gzip, chunked',
      'Transfer-Encoding: chunked, gzip',
      'Transfer-Encoding: chunked, chunked',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding: identity',
    ],
    true,
  ),
  (random, normal, bodiless) => {
    const odd = random.pick(oddChunks);
    const head = `HTTP/1.1 200 Odd\r\n${normal.fields}Transfer-Encoding: chunked\r\n\r\n`;
    const plan = broken(`chunks ${JSON.stringify(odd)}`, [text(head + odd), ended(random)], normal);
    return bodiless ? { ...plan, reading: 'loose' } : plan;
  },
  function cutShort(random, normal, bodiless) {
    const whole = framed(
      random,
      { ...normal, body: random.letters(1 + random.below(5_000)), status: 200 },
      bodiless,
    );
    const bytes = random.below(whole.length);
    const name = `cut after ${bytes} of ${whole.length}`;
    return broken(name, [{ write: whole.subarray(0, bytes) }, ended(random)], normal);
  },
  (random, normal, bodiless) => {
    const close: Normal = { ...normal, status: 200 };
    const head = `HTTP/1.1 200 Fine\r\n${normal.fields}${random.chance(0.5) ? 'Connection: close\r\n' : ''}\r\n`;
    const reset = random.chance(0.3);
    return {
      ...broken(
        `until ${reset ? 'reset' : 'close'}`,
        [text(head), { write: close.body }, { pauseMs: 1 }, { end: reset ? 'reset' : 'fin' }],
        close,
      ),
      // a reset that comes together with data cannot be told from an end (libuv)
      reading: bodiless || reset ? 'loose' : 'whole',
    };
  },
  (random, normal, bodiless) => {
    const count = 1 + random.below(random.chance(0.2) ? 2_000 : 20);
    const one = random.pick(['100 Continue', '102 Processing', '103 Early Hints\r\nLink: </x>', '199 x']);
    const flood = text(`HTTP/1.1 ${one}\r\n\r\n`.repeat(count));
    const plan = wholePlan(random, normal, bodiless);
    return {
      ...plan,
      name: `${count} of ${one.slice(0, 3)}`,
      steps: [flood, ...plan.steps],
      reading: count > 20 || !/^10[23]/.test(one) ? 'loose' : 'whole',
    };
  },
  (random, normal) => ({
    ...loose(
      '101',
      [
        text(
          `HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: ${random.pick(['h2c', 'websocket'])}\r\n\r\n\0\0\0noise`,
        ),
        ...(random.chance(0.7) ? [ended(random)] : []),
      ],
      normal,
    ),
    after: 'unusable',
  }),
  function unasked(random, normal, bodiless) {
    const plan = wholePlan(random, normal, bodiless);
    const more = random.pick([
      'HTTP/1.1 200 Unasked\r\nX-Fuzz-Answer: WHEN\r\nContent-Length: 3\r\n\r\nbad',
      'x',
      '\r\n',
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 408 x\r\nX-Fuzz-Answer: WHEN\r\nConnection: close\r\n\r\n',
    ]);
    const [answer] = plan.steps;
    if (answer === undefined || !('write' in answer)) throw new Error('a whole answer is one write');
    // written together: whoever uses the connection again has not looked
    if (random.chance(0.4)) {
      const write = Buffer.concat([answer.write, Buffer.from(more.replace('WHEN', 'unasked'))]);
      const odd: AnswerPlan = {
        ...plan,
        name: 'unasked bytes at once',
        steps: [{ write }],
        reading: 'loose',
      };
      // empty lines before an answer are skipped by many (RFC 9112 §2.2)
      return more === '\r\n' ? odd : { ...odd, after: 'unusable' };
    }
    // the next request may be under way by then, and nobody can tell
    const late = Buffer.from(more.replace('WHEN', 'unasked-later'));
    return {
      ...plan,
      name: 'unasked bytes later',
      steps: [...plan.steps, { pauseMs: random.below(4) }, { late }],
      reading: 'loose',
    };
  },
  function longHead(random, normal) {
    const [bytes, count] = random.pick([
      [70_000, 1],
      [300_000, 1],
      [10, 3_000],
      [60_000, 1],
      [20, 300],
      [100, 1_500],
    ]);
    const fields = Array.from({ length: count }, (_, i) => `X-Many-${i}: ${'h'.repeat(bytes)}\r\n`).join('');
    const head = `HTTP/1.1 200 Long\r\n${normal.fields}${fields}Content-Length: ${normal.body.length}\r\n\r\n`;
    return loose(`a head of ${head.length} bytes`, [text(head), { write: normal.body }], normal);
  },
  (random, normal, bodiless) => {
    const plan = wholePlan(random, normal, bodiless);
    const end = random.pick(['reads on', 'fin', 'reset']);
    if (end === 'reads on') return { ...plan, name: 'early', early: true };
    return {
      ...plan,
      name: `early, then ${end}`,
      early: true,
      reading: 'loose',
      steps: [...plan.steps, { end: end === 'fin' ? 'fin' : 'reset' }],
    };
  },
  (random, normal) => broken('nothing', random.chance(0.9) ? [ended(random)] : [], normal),
  (random, normal, bodiless) => {
    const plan = wholePlan(random, normal, bodiless);
    return {
      ...plan,
      name: 'whole, then the end',
      steps: [...plan.steps, ...(random.chance(0.5) ? [{ pauseMs: 2 }] : []), ended(random)],
      reading: 'loose',
    };
  },
  (_, normal) => {
    const extra = Buffer.from(`HTTP/1.1 204 None\r\n${normal.fields}Content-Length: 5\r\n\r\nabcde`);
    return {
      ...loose('204 with a body', [{ write: extra }], normal),
      after: 'unusable',
      status: 204,
      body: Buffer.alloc(0),
    };
  },
  (random, normal, bodiless) => {
    const trailer = `HTTP/1.1 200 Fine\r\n${normal.fields}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n`;
    const body = Buffer.concat([
      chunks(random, normal.body).subarray(0, -2),
      Buffer.from('X-Sum: 1\r\nContent-Length: 9\r\n\r\n'),
    ]);
    const plan = loose('trailers', [text(trailer), { write: bodiless ? Buffer.alloc(0) : body }], normal);
    return { ...plan, status: 200 };
  },
];

/** The same in more writes, with turns of the event loop between. */
function inPieces(plan: AnswerPlan, random: Random): AnswerPlan {
  const steps = plan.steps.flatMap((step): Step[] => {
    if (!('write' in step) || step.write.length === 0) return [step];
    return random.cut(step.write, 2 + random.below(3)).flatMap((write) => [{ write }, { pauseMs: 0 }]);
  });
  return { ...plan, steps };
}
