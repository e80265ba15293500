import type { Profile } from '../core/profile.ts';

/**
 * OpenStack Glance's Images API v2: what its requests mean to an upload gateway.
 * Paths are Glance's canonical ones; every other spelling of them is refused or rewritten before it is matched.
 * Every route is listed, so that logs and metrics name it; docs/glance.md says what is done with each and why.
 */
export const glance: Profile = {
  name: 'glance',
  routes: [
    // the bytes of an image
    { method: 'PUT', path: '/v2/images/{image}/file', action: 'upload' },
    { method: 'PUT', path: '/v2/images/{image}/stage', action: 'stage' },
    { method: 'GET', path: '/v2/images/{image}/file', action: 'download' },
    // ways round the gateway
    { method: 'POST', path: '/v2/images/{image}/import', action: 'import' },
    { method: 'POST', path: '/v2/images/{image}/locations', action: 'locations' },
    { method: 'PATCH', path: '/v2/images/{image}', action: 'update' },
    { method: 'POST', path: '/v2/tasks', action: 'task' },
    // images
    { method: 'POST', path: '/v2/images', action: 'create' },
    { method: 'GET', path: '/v2/images', action: 'pass' },
    { method: 'GET', path: '/v2/images/{image}', action: 'pass' },
    { method: 'DELETE', path: '/v2/images/{image}', action: 'delete' },
    { method: 'GET', path: '/v2/images/{image}/tasks', action: 'pass' },
    { method: 'GET', path: '/v2/images/{image}/locations', action: 'pass' },
    { method: 'POST', path: '/v2/images/{image}/actions/deactivate', action: 'change' },
    { method: 'POST', path: '/v2/images/{image}/actions/reactivate', action: 'change' },
    { method: 'PUT', path: '/v2/images/{image}/tags/{tag}', action: 'change' },
    { method: 'DELETE', path: '/v2/images/{image}/tags/{tag}', action: 'change' },
    { method: 'GET', path: '/v2/images/{image}/members', action: 'pass' },
    { method: 'POST', path: '/v2/images/{image}/members', action: 'pass' },
    { method: 'GET', path: '/v2/images/{image}/members/{member}', action: 'pass' },
    { method: 'PUT', path: '/v2/images/{image}/members/{member}', action: 'pass' },
    { method: 'DELETE', path: '/v2/images/{image}/members/{member}', action: 'pass' },
    // stores, discovery, cache, tasks
    { method: 'DELETE', path: '/v2/stores/{store}/{image}', action: 'change' },
    { method: 'GET', path: '/v2/info/import', action: 'pass' },
    { method: 'GET', path: '/v2/info/stores', action: 'pass' },
    { method: 'GET', path: '/v2/info/stores/detail', action: 'pass' },
    { method: 'GET', path: '/v2/info/usage', action: 'pass' },
    { method: 'GET', path: '/v2/cache', action: 'pass' },
    { method: 'DELETE', path: '/v2/cache', action: 'pass' },
    { method: 'PUT', path: '/v2/cache/{image}', action: 'pass' },
    { method: 'DELETE', path: '/v2/cache/{image}', action: 'pass' },
    { method: 'GET', path: '/v2/cache/nodes/{image}', action: 'pass' },
    { method: 'POST', path: '/v2/cache/clean', action: 'pass' },
    { method: 'POST', path: '/v2/cache/prune', action: 'pass' },
    { method: 'GET', path: '/v2/tasks', action: 'pass' },
    { method: 'GET', path: '/v2/tasks/{task}', action: 'pass' },
    { method: 'DELETE', path: '/v2/tasks/{task}', action: 'pass' },
    // schemas and definitions of metadata
    { method: 'GET', path: '/v2/schemas/{schema}', action: 'pass' },
    { method: 'GET', path: '/v2/schemas/metadefs/{schema}', action: 'pass' },
    { method: 'GET', path: '/v2/metadefs/resource_types', action: 'pass' },
    { method: '*', path: '/v2/metadefs/namespaces', action: 'pass' },
    { method: '*', path: '/v2/metadefs/namespaces/{namespace}', action: 'pass' },
    { method: '*', path: '/v2/metadefs/namespaces/{namespace}/{kind}', action: 'pass' },
    { method: '*', path: '/v2/metadefs/namespaces/{namespace}/{kind}/{name}', action: 'pass' },
    // versions and health
    { method: 'GET', path: '/', action: 'pass' },
    { method: 'GET', path: '/versions', action: 'pass' },
    { method: '*', path: '/healthcheck', action: 'pass' },
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
  preflight: { method: 'GET', path: '/v2/images/{image}', success: [200] },
};
