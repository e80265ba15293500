import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: these tests are started by test/openstack/run.sh`);
  return value;
}

/** Scratch directory of the running services; their logs are in its `log`. */
export const stackDirectory = setting('SLUICE_OPENSTACK_DIR');
export const keystoneUrl = setting('KEYSTONE_URL');
/** Origin of the Glance that the gateway stands in front of; it has no quota of its own. */
export const glanceOrigin = setting('GLANCE_URL');
/** Origin of a second Glance with its own database and store, and `user_storage_quota = 200MB` (200 MiB). */
export const glanceWithQuotaOrigin = setting('GLANCE_QUOTA_URL');
/** Origin of a third Glance, with `use_keystone_limits`. */
export const glanceWithLimitsOrigin = setting('GLANCE_LIMITS_URL');
export const adminPassword = setting('ADMIN_PASSWORD');
/** Of the user `glance` in the project `service`, an administrator. */
export const servicePassword = setting('SERVICE_PASSWORD');
/** True: there is no gateway, and its tests talk to Glance itself. */
export const direct = Boolean(process.env.SLUICE_TEST_DIRECT);

/** A directory in which a Glance keeps data: stored images, or what PUT .../stage brought. */
export type Store = 'glance/images' | 'glance/staging' | 'glance-quota/images' | 'glance-limits/images';

/** How many bytes of an image are on disk now; null if there is no file of it. */
export async function bytesOnDisk(store: Store, imageId: string): Promise<number | null> {
  const directory = join(stackDirectory, store);
  // glance_store names a file after its image; a staged one may carry a suffix
  const name = (await readdir(directory)).find((entry) => entry.startsWith(imageId));
  if (name === undefined) return null;
  return stat(join(directory, name)).then(
    ({ size }) => size,
    () => null,
  );
}
