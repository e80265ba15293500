/** The statuses of Glance that this API knows, with Glance's meanings. */
export type ImageStatus = 'queued' | 'saving' | 'uploading' | 'importing' | 'active' | 'deleted';

/**
 * Where an image may go from where it is: the part of `valid_state_targets` of glance/domain/__init__.py
 * that can be reached here.
 */
const targets: Readonly<Record<ImageStatus, readonly ImageStatus[]>> = {
  queued: ['saving', 'uploading', 'importing', 'active', 'deleted'],
  saving: ['active', 'queued', 'deleted'],
  uploading: ['importing', 'queued', 'deleted'],
  importing: ['active', 'queued', 'deleted'],
  active: ['deleted'],
  deleted: [],
};

export function mayBecome(from: ImageStatus, to: ImageStatus): boolean {
  return targets[from].includes(to);
}
