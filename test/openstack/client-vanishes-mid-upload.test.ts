import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk, direct } from './support/stack.ts';
import { framed, framings, MiB, Upload } from './support/upload.ts';

const bytes = 16 * MiB;
const deaths = {
  'with a reset': (upload: Upload) => upload.client.reset(),
  'with a FIN': (upload: Upload) => upload.client.end(),
};

describe('a client that vanishes mid-upload', () => {
  let gateway: Gateway;
  let owner: Owner;

  beforeEach(async () => {
    gateway = await Gateway.start({ quota: '1GiB' });
    owner = await newOwner();
  });
  afterEach(() => gateway.stop());

  for (const framing of framings) {
    for (const [how, die] of Object.entries(deaths)) {
      it(`${how} leaves a queued image, no file and no reserved byte, and may come back (${framing})`, async () => {
        const { origin } = gateway;
        const imageId = await createImage(origin, owner);
        const lost = await Upload.begin({ origin, owner, imageId, ...framed(framing, bytes) });
        await lost.send(bytes / 2);
        await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);

        die(lost);

        await eventually(async () => assert.equal(await statusInGlance(owner, imageId), 'queued'));
        await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
        await eventually(async () =>
          assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 }),
        );
        if (!direct) assert.equal(await gateway.metric('sluice_uploads_total{ending="client-gone"}'), 1);

        const again = await Upload.begin({ origin, owner, imageId, ...framed(framing, bytes) });
        await again.send(bytes);
        assert.equal((await again.finish()).status, 204);
        const image = await imageInGlance(owner, imageId);
        assert.equal(image?.status, 'active');
        assert.equal(image?.size, bytes);
      });
    }
  }
});
