import type { Profile } from '../../src/core/profile.ts';

/** A table with one of everything, shaped like Glance's. */
export const imageApi: Profile = {
  name: 'image-api',
  routes: [
    { method: 'PUT', path: '/v2/images/{image}/file', action: 'upload' },
    { method: 'PUT', path: '/v2/images/{image}/stage', action: 'stage' },
    { method: 'POST', path: '/v2/images/{image}/import', action: 'import' },
    { method: 'PATCH', path: '/v2/images/{image}', action: 'update' },
    { method: 'POST', path: '/v2/images/{image}/locations', action: 'locations' },
    { method: 'DELETE', path: '/v2/images/{image}', action: 'delete' },
    { method: 'GET', path: '/v2/images/{image}/file', action: 'download' },
    { method: 'POST', path: '/v2/images', action: 'create' },
    { method: 'GET', path: '/v2/images/{image}', action: 'pass' },
    { method: '*', path: '/v2/images/{image}/tags/{tag}', action: 'pass' },
    { method: '*', path: '/v2/tasks', action: 'forbid' },
    { method: 'GET', path: '/v2/console', action: 'pass', upgrade: true },
  ],
  unlisted: 'pass',
  imageId: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  imageIdCase: 'lower',
  versionAlias: { canonical: 'v2', pattern: /^v2\.(?:\d|1[0-8])$/ },
  versionInAccept: 'application/vnd.openstack.images-v',
  methodOverride: '_method',
  sizeHeader: 'x-openstack-image-size',
  success: [204],
  status: null,
  preflight: null,
};

export const imageId = '71c675ab-d94f-49cd-a114-e12490b328d9';
