/**
 * What an origin answers to every question: an image that is empty, and of the project whose uploads are measured; read as
 * a list, no image at all; read as the usage of a project under unified limits (`/v2/info/usage`), nothing.
 */
export const imageRecord = JSON.stringify({
  id: '6f1ed002-ab5d-4b4b-8f6e-2f3a1c1d0e5f',
  name: 'bench',
  status: 'queued',
  owner: 'blue',
  visibility: 'private',
  size: null,
  images: [],
  usage: { image_size_total: { limit: -1, usage: 0 }, image_stage_total: { limit: -1, usage: 0 } },
});
