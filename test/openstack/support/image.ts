import { z } from 'zod';
import { type Bearer, identityHeaders } from './owner.ts';
import { publish } from './secrets.ts';
import { glanceOrigin } from './stack.ts';

const imageRecord = z.object({
  id: z.string(),
  status: z.string(),
  size: z.number().nullable(),
  checksum: z.string().nullable(),
  os_hash_algo: z.string().nullable(),
  os_hash_value: z.string().nullable(),
});
export type ImageRecord = z.infer<typeof imageRecord>;

const imageUrl = (origin: string, imageId: string) => `${origin}/v2/images/${imageId}`;

/** Makes an image record in status `queued` and returns its id. */
export async function createImage(
  origin: string,
  owner: Bearer,
  properties: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const answer = await fetch(`${origin}/v2/images`, {
    method: 'POST',
    headers: { ...identityHeaders(owner), 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'test', disk_format: 'raw', container_format: 'bare', ...properties }),
  });
  if (answer.status !== 201) throw new Error(`create: ${answer.status} ${await answer.text()}`);
  return imageRecord.parse(await answer.json()).id;
}

/** The image as Glance itself tells it, whatever stands in front; null if there is none. */
export async function imageInGlance(
  owner: Bearer,
  imageId: string,
  origin: string = glanceOrigin,
): Promise<ImageRecord | null> {
  const answer = await fetch(imageUrl(origin, imageId), { headers: identityHeaders(owner) });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`show: ${answer.status} ${await answer.text()}`);
  return imageRecord.parse(await answer.json());
}

export async function statusInGlance(owner: Bearer, imageId: string): Promise<string | null> {
  return (await imageInGlance(owner, imageId))?.status ?? null;
}

/** Sends DELETE and returns the status of the answer. */
export async function deleteImage(origin: string, owner: Bearer, imageId: string): Promise<number> {
  const answer = await fetch(imageUrl(origin, imageId), {
    method: 'DELETE',
    headers: identityHeaders(owner),
  });
  publish('the answer to a delete', await answer.text());
  return answer.status;
}

/** Changes or adds one property, straight or through a gateway, and returns the status of the answer. */
export async function setProperty(
  origin: string,
  owner: Bearer,
  imageId: string,
  name: string,
  value: unknown,
): Promise<number> {
  const answer = await fetch(imageUrl(origin, imageId), {
    method: 'PATCH',
    headers: {
      ...identityHeaders(owner),
      'Content-Type': 'application/openstack-images-v2.1-json-patch',
    },
    body: JSON.stringify([{ op: 'add', path: `/${name}`, value }]),
  });
  publish('the answer to a change', await answer.text());
  return answer.status;
}

/** Sends POST to something below the image, such as `import` or `actions/deactivate`, and returns the status. */
export async function postToImage(
  origin: string,
  owner: Bearer,
  imageId: string,
  path: string,
  body?: unknown,
): Promise<number> {
  const answer = await fetch(`${imageUrl(origin, imageId)}/${path}`, {
    method: 'POST',
    headers: { ...identityHeaders(owner), 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  publish('the answer to a post', await answer.text());
  return answer.status;
}
