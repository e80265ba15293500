import assert from 'node:assert/strict';
import { importMethods, readImport } from '../../src/core/import-request.ts';
import { assertRefuses } from './refusal.ts';

const copy = { method: { name: 'copy-image' } };

describe('an import call', () => {
  for (const method of importMethods) {
    it(`by ${method} is one, whatever else it says`, () => {
      const call = { method: { name: method, uri: 'https://h/x' }, all_stores_must_succeed: true };
      assert.deepEqual(readImport(call, undefined), { method, stores: [], allStores: false });
    });
  }

  it('names its stores in the body, by the header, or all of them', () => {
    const method = 'copy-image';
    const rows: [call: object, header: string | undefined, stores: string[], allStores: boolean][] = [
      [{ ...copy, stores: ['a', 'b'] }, undefined, ['a', 'b'], false],
      [{ ...copy, stores: ['a'], all_stores: false }, undefined, ['a'], false],
      [copy, 'c', ['c'], false],
      [{ ...copy, all_stores: true }, undefined, [], true],
      [{ ...copy, all_stores: null }, undefined, [], false],
    ];
    for (const [call, header, stores, allStores] of rows) {
      assert.deepEqual(readImport(call, header), { method, stores, allStores });
    }
  });

  const invalid: [call: unknown, header?: string][] = [
    [{}],
    [null],
    [[copy]],
    ['glance-direct'],
    [{ method: 'glance-direct' }],
    [{ method: {} }],
    [{ method: ['glance-direct'] }],
    [{ method: { name: ['glance-direct'] } }],
    [{ method: { name: 'Glance-Direct' } }],
    [{ method: { name: 'glance-direct ' } }],
    [{ method: { name: 'toString' } }],
    [{ Method: { name: 'glance-direct' } }],
    [JSON.parse('{"__proto__":{"method":{"name":"glance-direct"}}}')],
    [JSON.parse('{"method":{"__proto__":{"name":"glance-direct"}}}')],
    [{ ...copy, all_stores: 'true' }],
    [{ ...copy, all_stores: 1 }],
    [{ ...copy, stores: 'a' }],
    [{ ...copy, stores: [] }],
    [{ ...copy, stores: ['a', 1] }],
    [{ ...copy, stores: null }],
    [{ ...copy, stores: ['a'], all_stores: true }],
    [{ ...copy, stores: ['a'] }, 'b'],
    [{ ...copy, all_stores: true }, 'b'],
  ];
  for (const [call, header] of invalid) {
    it(`is refused: ${JSON.stringify(call)}${header === undefined ? '' : ` with the header ${header}`}`, () => {
      assertRefuses('import-invalid', () => readImport(call, header), JSON.stringify(call));
    });
  }
});
