import type { Config } from '../config/config.ts';
import { Networks } from '../http/networks.ts';
import { Service } from '../http/service.ts';
import { AnonymousIdentity } from './anonymous.ts';
import { HeaderIdentity } from './headers.ts';
import type { Identity } from './identity.ts';
import { type IdentityOutcome, KeystoneIdentity } from './keystone.ts';
import { KeystoneApi } from './keystone-api.ts';
import { ServiceAccount } from './service-account.ts';

/** What the gateway has to do with Keystone, by its configuration. Lives as long as that part of it stays the same. */
export class Cloud {
  readonly identity: Identity;
  readonly api: KeystoneApi;
  /** Null where the gateway has no account of its own. */
  readonly account: ServiceAccount | null;
  readonly #service: Service;

  constructor(
    { source, headers, keystone, adminRoles }: Config['identity'],
    observe: (outcome: IdentityOutcome) => void,
  ) {
    this.#service = new Service(keystone.url, keystone.timeoutMs);
    this.api = new KeystoneApi(this.#service);
    this.account =
      keystone.serviceAccount === null
        ? null
        : new ServiceAccount(this.api, keystone.serviceAccount, adminRoles);
    switch (source) {
      case 'none':
        this.identity = new AnonymousIdentity();
        break;
      case 'headers':
        this.identity = new HeaderIdentity(headers);
        break;
      case 'keystone': {
        const options = { ...keystone, serviceTokensFrom: new Networks(keystone.serviceTokensFrom) };
        this.identity = new KeystoneIdentity(this.api, this.account, options, observe);
      }
    }
  }

  /** Lets questions under way come to their end. */
  async close(): Promise<void> {
    await this.#service.close();
  }

  async destroy(): Promise<void> {
    await this.#service.destroy();
  }
}
