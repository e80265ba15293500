import assert from 'node:assert/strict';
import { Template } from '../../nginx-compare/template.ts';

const sluice = { PORT: 1, ORIGIN: 2, KEYSTONE: 'http://127.0.0.1:5000/v3', LANE: 'auto' };

describe('The configuration of a contender', () => {
  it('is its file with what differs from run to run', async () => {
    const text = await new Template('sluice.yaml').filled(sluice);
    assert.match(text, /address: "127\.0\.0\.1:1"/);
    assert.match(text, /servers: \["http:\/\/127\.0\.0\.1:2"\]/);
    assert.doesNotMatch(text, /@[A-Z]/);
  });

  it('is refused when a value is missing, or when the file has no place for one', async () => {
    const { LANE: _, ...without } = sluice;
    await assert.rejects(new Template('sluice.yaml').filled(without), /nobody says what @LANE@ is/);
    await assert.rejects(
      new Template('sluice.yaml').filled({ ...sluice, SCRATCH: '/tmp' }),
      /sluice\.yaml has no @SCRATCH@/,
    );
  });
});
