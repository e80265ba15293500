import assert from 'node:assert/strict';
import { touches } from '../../src/core/image-patch.ts';

const touchesLocations = (patch: unknown): boolean => touches(patch, 'locations');

describe('a patch of an image', () => {
  const pointers = [
    '/locations',
    '/locations/',
    '/locations/-',
    '/locations/0',
    '/locations/0/url',
    '//locations',
    '///locations/1',
    '/ locations',
    '/locations /0',
    '/\tlocations\n',
    '/\u001clocations\u0085',
    '/ /locations',
    'locations',
    ' /locations',
    '/~1locations',
    '~1locations~10',
    '',
    '/',
    ' / ',
  ];
  for (const pointer of pointers) {
    for (const op of ['add', 'replace', 'remove', 'move', 'copy', 'ADD', undefined]) {
      it(`touches the locations: ${op ?? 'no op'} ${JSON.stringify(pointer)}`, () => {
        assert.equal(touchesLocations([{ op, path: pointer, value: [] }]), true);
      });
    }
    for (const op of ['add', 'replace', 'remove']) {
      it(`touches the locations in the form of API 2.0: ${op} ${JSON.stringify(pointer)}`, () => {
        assert.equal(touchesLocations([{ [op]: pointer, value: [] }]), true);
      });
    }
  }

  it('touches the locations by any of its changes, or as one change without a list', () => {
    const name = { op: 'replace', path: '/name', value: 'x' };
    assert.equal(touchesLocations([name, name, { op: 'add', path: '/locations/-' }]), true);
    assert.equal(touchesLocations({ op: 'add', path: '/locations/-' }), true);
    assert.equal(touchesLocations([{ op: 'move', from: '/locations/0', path: '/name' }]), true);
    assert.equal(touchesLocations([{ op: 'add', path: '/name', replace: '/locations' }]), true);
  });

  for (const change of [
    { op: 'replace', path: '/name', value: '/locations' },
    { op: 'replace', path: '/name/locations' },
    { op: 'add', path: '/my_locations' },
    { op: 'add', path: '/locationsx' },
    { op: 'add', path: '/Locations' },
    { op: 'add', path: '/~0locations' },
    { op: 'add', path: '/~01ocations' },
    { replace: '/name', value: 'locations' },
    { op: 'add', path: 5 },
    { op: 'add', path: ['/locations'] },
    { value: { locations: [] } },
    {},
    null,
    '/locations',
  ]) {
    it(`leaves the locations alone: ${JSON.stringify(change)}`, () => {
      assert.equal(touchesLocations([change]), false);
      assert.equal(touchesLocations(change), false);
    });
  }

  it('with a long run of blanks is read in no time that anybody notices', () => {
    assert.equal(touchesLocations([{ path: `/${' '.repeat(1_000_000)}x` }]), false);
    assert.equal(touchesLocations([{ path: '/'.repeat(1_000_000) }]), true);
  });
});
