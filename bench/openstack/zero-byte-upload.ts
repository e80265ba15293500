// One upload of 0 bytes, end to end over a new connection each: to Glance itself and through the gateway with its whole job
// (Keystone identity, look-up of the image's owner, a total and a limit of uploads, ledger), and without a quota.
import { once } from 'node:events';
import { connect } from 'node:net';
import { Gateway } from '../../test/openstack/support/gateway.ts';
import { createImage } from '../../test/openstack/support/image.ts';
import { identityHeaders, newOwner, type Owner } from '../../test/openstack/support/owner.ts';
import { glanceOrigin } from '../../test/openstack/support/stack.ts';
import { alternate, row } from '../rounds.ts';

const uploads = 30;
const rounds = 5;

/** Milliseconds from the first byte of the request to the last of the answer. */
async function put(origin: string, owner: Owner, image: string): Promise<number> {
  const { hostname, port, host } = new URL(origin);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  const headers = { Host: host, 'Content-Type': 'application/octet-stream', 'Content-Length': '0' };
  const lines = Object.entries({ ...headers, ...identityHeaders(owner) }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  const beganMs = performance.now();
  socket.write([`PUT /v2/images/${image}/file HTTP/1.1`, ...lines, '', ''].join('\r\n'));
  const [first] = await once(socket, 'data');
  const tookMs = performance.now() - beganMs;
  socket.destroy();
  const status = /^HTTP\/1\.1 (\d+)/.exec(String(first))?.[1];
  if (status !== '204') throw new Error(`${origin} answered ${status}: ${first}`);
  return tookMs;
}

/** The mean of some uploads in a row, in milliseconds; the images are made before the clock runs. */
async function timed(origin: string, owner: Owner): Promise<number> {
  const images: string[] = [];
  for (let i = 0; i < uploads; i += 1) images.push(await createImage(glanceOrigin, owner));
  let sumMs = 0;
  for (const image of images) sumMs += await put(origin, owner, image);
  return sumMs / uploads;
}

const owner = await newOwner();
const metered = await Gateway.start({ quota: '1GiB', userLimits: { uploads: 100 } });
const plain = await Gateway.start({});
try {
  const figures = await alternate(
    {
      'Glance itself (peer)': () => timed(glanceOrigin, owner),
      'through Sluice, quota off': () => timed(plain.origin, owner),
      'through Sluice, identity and quota': () => timed(metered.origin, owner),
    },
    rounds,
  );
  const [peer = []] = figures.values();
  console.log(`\nNode ${process.version}, ${rounds} rounds of ${uploads} uploads each, one at a time\n`);
  console.log('| upload of 0 bytes | median | spread | ratio |\n| --- | --- | --- | --- |');
  for (const [name, each] of figures) console.log(row(name, each, peer, 'ms'));
} finally {
  await metered.stop();
  await plain.stop();
}
