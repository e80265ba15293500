import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { certificateWarnings } from '../../src/config/certificate.ts';
import { effectiveYaml } from '../../src/config/load.ts';
import { preflight } from '../../src/config/preflight.ts';
import { certificateText } from '../support/certificates.ts';
import { complaints, loaded, printed, type Scratch, scratch } from './scratch.ts';

describe('certificates of a listener', () => {
  let files: Scratch;
  before(() => {
    files = scratch();
    for (const name of ['server', 'images', 'wildcard', 'nameless', 'weak', 'expired', 'authority'])
      files.write(`${name}.pem`, certificateText(`${name}.pem`));
    for (const name of ['server', 'images', 'wildcard', 'nameless', 'weak', 'locked'])
      files.write(`${name}.key`, certificateText(`${name}.key`));
    files.write('chain.pem', certificateText('server.pem') + certificateText('authority.pem'));
    files.write('turned.pem', certificateText('authority.pem') + certificateText('server.pem'));
    files.write('both.pem', certificateText('server.key') + certificateText('server.pem'));
    files.write('text.pem', 'no certificate');
    files.write('broken.pem', certificateText('server.pem').replace(/\n(.{40}).*\n/, '\n$1\n'));
    files.write('broken.key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
    files.write(
      'broken-chain.pem',
      `${certificateText('server.pem')}${readFileSync(`${files.folder}/broken.pem`, 'utf8')}`,
    );
    files.write('binary.pem', Uint8Array.of(0x30, 0x82, 0xff, 0xfe));
  });
  after(() => files.remove());

  /** The file with this in the place of `tls`, which begins in column 5 of line 3. */
  const written = (tls: string): string =>
    files.write(
      'sluice.yaml',
      `admin: { address: "127.0.0.1:0" }\nlisten:\n  - tls: ${tls}\n    address: "127.0.0.1:0"\n`,
    );

  for (const [what, tls, ...expected] of [
    ['has a chain', '{ cert: chain.pem, key: server.key }'],
    ['stands in one file with its key', '{ cert: both.pem, key: both.pem }'],
    ['has expired', '{ cert: expired.pem, key: server.key }'],
    ['has no name and is the only one', '{ cert: nameless.pem, key: nameless.key }'],
    [
      'has no name and is given one',
      '{ cert: server.pem, key: server.key, certificates: [{ cert: nameless.pem, key: nameless.key, names: ["*.example.org"] }] }',
    ],
    [
      'is not there',
      '{ cert: absent.pem, key: server.key }',
      '3:18: listen[0].tls.cert: absent.pem cannot be read: no such file (ENOENT)',
    ],
    [
      'is a folder',
      '{ cert: ., key: server.key }',
      /^3:18: listen\[0\]\.tls\.cert: .* cannot be read: it is a directory \(EISDIR\)$/,
    ],
    [
      'is text',
      '{ cert: text.pem, key: server.key }',
      '3:18: listen[0].tls.cert: text.pem has no certificate in PEM in it',
    ],
    [
      'is binary',
      '{ cert: binary.pem, key: server.key }',
      '3:18: listen[0].tls.cert: binary.pem cannot be read: it is not UTF-8 text',
    ],
    [
      'is broken',
      '{ cert: broken.pem, key: server.key }',
      '3:18: listen[0].tls.cert: broken.pem is not readable as PEM: its certificate number 1 is broken',
    ],
    [
      'has a broken chain',
      '{ cert: broken-chain.pem, key: server.key }',
      '3:18: listen[0].tls.cert: broken-chain.pem is not readable as PEM: its certificate number 2 is broken',
    ],
    [
      'has a key that is not there',
      '{ cert: server.pem, key: absent.key }',
      '3:35: listen[0].tls.key: absent.key cannot be read: no such file (ENOENT)',
    ],
    [
      'has a certificate for its key',
      '{ cert: server.pem, key: server.pem }',
      '3:35: listen[0].tls.key: server.pem has no private key in PEM in it',
    ],
    [
      'has a broken key',
      '{ cert: server.pem, key: broken.key }',
      '3:35: listen[0].tls.key: broken.key is not readable as a private key in PEM',
    ],
    [
      'has the key of another',
      '{ cert: server.pem, key: images.key }',
      '3:35: listen[0].tls.key: images.key does not belong to the certificate (the first one, if it is a chain)',
    ],
    [
      'has its chain in front',
      '{ cert: turned.pem, key: server.key }',
      '3:35: listen[0].tls.key: server.key does not belong to the certificate (the first one, if it is a chain)',
    ],
    [
      'has a key with a password',
      '{ cert: server.pem, key: locked.key }',
      '3:35: listen[0].tls.key: locked.key is protected by a password: nobody is there to type it, so take it off (openssl pkey)',
    ],
    [
      'is one of more and has no name',
      '{ cert: server.pem, key: server.key, certificates: [{ cert: nameless.pem, key: nameless.key }] }',
      '3:70: listen[0].tls.certificates[0].cert: nameless.pem has no DNS name in it: say names',
    ],
    [
      'is one of more and has the key of another',
      '{ cert: server.pem, key: server.key, certificates: [{ cert: images.pem, key: images.key }, { cert: wildcard.pem, key: images.key }] }',
      '3:128: listen[0].tls.certificates[1].key: images.key does not belong to the certificate (the first one, if it is a chain)',
    ],
    [
      'has a name that none can have',
      '{ cert: server.pem, key: server.key, certificates: [{ cert: images.pem, key: images.key, names: ["*"] }] }',
      '3:107: listen[0].tls.certificates[0].names[0]: expected the name of a host or *.NAME, got "*"',
    ],
    [
      'is beside authorities that are none',
      '{ cert: server.pem, key: server.key, client_ca: text.pem }',
      '3:58: listen[0].tls.client_ca: text.pem has no certificate in PEM in it',
    ],
    [
      'is for a version that is not safe any more',
      '{ cert: server.pem, key: server.key, min_version: TLSv1.1 }',
      '3:60: listen[0].tls.min_version: expected one of TLSv1.2, TLSv1.3, got "TLSv1.1"; did you mean "TLSv1.2"?',
    ],
    ['has no key', '{ cert: server.pem }', '3:10: listen[0].tls.key: missing; expected path'],
  ] as const) {
    it(`${expected.length === 0 ? 'are served' : 'are refused'} where one ${what}`, () => {
      const errors = complaints(written(tls)).map((line) => line.replace('sluice.yaml:', ''));
      for (const [i, each] of expected.entries()) {
        if (typeof each === 'string') assert.equal(errors[i], each);
        else assert.match(errors[i] ?? '', each);
      }
      assert.equal(errors.length, expected.length);
    });
  }

  it('are refused by the preflight where the library of TLS does not take them', async () => {
    const errors = async (tls: string): Promise<string[]> => printed(await preflight(loaded(written(tls))));
    const [first = '', ...more] = await errors('{ cert: weak.pem, key: weak.key }');
    assert.match(first, /^sluice\.yaml:3:18: listen\[0\]\.tls\.cert: weak\.pem is not accepted: .*too small/);
    assert.deepEqual(more, []);
    const [second = ''] = await errors(
      '{ cert: server.pem, key: server.key, certificates: [{ cert: weak.pem, key: weak.key }] }',
    );
    assert.match(
      second,
      /^sluice\.yaml:3:70: listen\[0\]\.tls\.certificates\[0\]\.cert: weak\.pem is not accepted/,
    );
    assert.deepEqual(await errors('{ cert: chain.pem, key: server.key }'), []);
  });

  it('are read with their names and times', () => {
    const { config } = loaded(
      written(
        '{ cert: chain.pem, key: server.key, certificates: [{ cert: wildcard.pem, key: wildcard.key }] }',
      ),
    );
    const [server, wildcard] = config.listen[0]?.tls?.certificates ?? [];
    assert.deepEqual(server?.names, ['localhost']);
    assert.deepEqual(wildcard?.names, ['*.example.org', 'example.net']);
    assert.equal(server?.cert.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.equal((server?.validToMs ?? 0) > Date.UTC(2100, 0), true);
    assert.deepEqual(certificateWarnings(config, Date.UTC(2050, 0)), []);
  });

  it('are warned of before they begin and from the moment they end', () => {
    const { config } = loaded(written('{ cert: expired.pem, key: server.key }'));
    const end = Date.UTC(2001, 0);
    const about = `the certificate ${files.folder}/expired.pem of listener 127.0.0.1:0`;
    assert.deepEqual(certificateWarnings(config, end - 1), []);
    assert.deepEqual(certificateWarnings(config, end), [`${about} has expired: 2001-01-01T00:00:00.000Z`]);
    assert.deepEqual(certificateWarnings(config, Date.UTC(1999, 0)), [
      `${about} is not valid before 2000-01-01T00:00:00.000Z`,
    ]);
  });

  it('stand in the configuration in effect by their paths, and never by their keys', () => {
    const text = effectiveYaml(
      loaded(
        written(
          '{ cert: server.pem, key: server.key, client_ca: authority.pem, certificates: [{ cert: images.pem, key: images.key }] }',
        ),
      ).settings,
    );
    for (const name of ['server.pem', 'server.key', 'authority.pem', 'images.pem', 'images.key'])
      assert.equal(text.includes(`${files.folder}/${name}`), true, name);
    assert.equal(text.includes('PRIVATE'), false);
    assert.deepEqual(complaints(files.write('again.yaml', text)), []);
  });
});
