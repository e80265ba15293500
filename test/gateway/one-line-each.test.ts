import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const raw = (...lines: readonly string[]): string => [...lines, '', ''].join('\r\n');
const put = (...fields: readonly string[]): string => raw(...uploadHead(randomUUID(), ...fields));

/** What is sent, what comes back, and the method that the log knows. */
const requests: Readonly<
  Record<string, readonly [sent: string, status: number, code: string, method: string]>
> = {
  'with an expectation that nobody knows': [
    put('Expect: miracles', 'Content-Length: 0'),
    417,
    'expectation-unsupported',
    'PUT',
  ],
  'with a head that is too large': [
    raw('GET / HTTP/1.1', 'Host: x', `X: ${'a'.repeat(70_000)}`),
    431,
    'headers-too-large',
    '',
  ],
  'that is no HTTP': ['\x16\x03\x01\x00\r\n\r\n', 400, 'request-invalid', ''],
  'with two framings': [put('Content-Length: 3', 'Transfer-Encoding: chunked'), 400, 'request-invalid', ''],
  'without a host': [raw('GET / HTTP/1.1'), 400, 'request-invalid', 'GET'],
  'for a tunnel': [raw('CONNECT a:1 HTTP/1.1', 'Host: x'), 400, 'target-invalid', 'CONNECT'],
  'for a tunnel, with an id of its own': [
    raw('CONNECT a:1 HTTP/1.1', 'Host: x', 'X-Openstack-Request-Id: req-mine'),
    400,
    'target-invalid',
    'CONNECT',
  ],
  'whose head does not end': ['GET / HTTP/1.1\r\nHost: x\r\n', 408, 'header-timeout', ''],
};

describe('a request that is refused before it is looked at', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(() => {});
    sluice = await TestGateway.start(upstream.port, { client_header_timeout: '300ms' });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  for (const [what, [sent, status, code, method]] of Object.entries(requests)) {
    it(`${what} is answered ${status}, is one line of the log, and counts`, async () => {
      const client = await sluice.client();
      await client.write(sent);
      const answer = await client.response();
      assert.deepEqual([answer.status, codeOf(answer.body)], [status, code]);
      await eventually(() => assert.equal(sluice.lines.length, 1));
      const [line] = sluice.lines;
      assert.deepEqual(
        [line?.action, line?.status, line?.error, line?.method, line?.client],
        ['refused', status, code, method, '127.0.0.1'],
      );
      if (sent.includes('req-mine')) assert.equal(line?.request_id, 'req-mine');
      assert.deepEqual(answer.headers.get('x-openstack-request-id'), [line?.request_id]);
      assert.match(String(line?.request_id), /^req-/);
      assert.equal(await sluice.metric('sluice_requests_total{action="refused",status="4xx"}'), 1);
      assert.equal(upstream.connections.length, 0);
    });
  }
});
