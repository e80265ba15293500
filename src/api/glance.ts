import type { Profile } from '../core/profile.ts';

/**
 * OpenStack Glance's Images API v2: what its requests mean to an upload gateway.
 * Paths are Glance's canonical ones; every other spelling of them is refused or rewritten before it is matched.
 */
export const glance: Profile = {
  name: 'glance',
  routes: [
    { method: 'PUT', path: '/v2/images/{image}/file', action: 'upload' },
    { method: 'PUT', path: '/v2/images/{image}/stage', action: 'stage' },
    { method: 'POST', path: '/v2/images/{image}/import', action: 'import' },
    { method: 'DELETE', path: '/v2/images/{image}', action: 'delete' },
    { method: 'GET', path: '/v2/images/{image}/file', action: 'download' },
    { method: 'POST', path: '/v2/images', action: 'create' },
  ],
  unlisted: 'pass',
  // Glance's schema takes hexadecimal digits of any case, but its database holds the id as it was created
  imageId: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  imageIdCase: 'lower',
  // Glance serves every minor version it knows (v2.0 to v2.18 in 33.0) from /v2
  versionAlias: { canonical: 'v2', pattern: /^v2\.(?:0|[1-9][0-9]*)$/ },
  versionInAccept: 'vnd.openstack.images-',
  methodOverride: '_method',
  // Glance 31.0 and later
  sizeHeader: 'x-openstack-image-size',
  success: [204],
  status: {
    path: '/v2/images/{image}',
    field: 'status',
    owner: 'owner',
    stored: ['active', 'deactivated', 'pending_delete'],
    notStored: ['queued', 'killed', 'deleted'],
  },
};
