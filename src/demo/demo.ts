import type { WrittenOptions } from '../config/options.ts';
import { MiB } from '../core/units.ts';

export const demoQuotaBytes = 200 * MiB;

/** What `sluice demo` runs with: everything on loopback, a quota small enough to be met. */
export function demoOptions(imageApiUrl: string): WrittenOptions {
  return {
    upstream: { servers: [imageApiUrl] },
    quota: { limits: [{ per: 'project', total: '200MiB' }], usage: { source: 'glance', ttl: 1 } },
    shutdown_grace: 5,
  };
}

/** The three lines that show what Sluice is for. Each one runs as it stands, in a shell of its own. */
export function demoText(gatewayUrl: string, adminUrl: string): string {
  const who = "-H 'X-User-Id: ann' -H 'X-Project-Id: demo'";
  const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
  const create = (n: number) =>
    `curl -so /dev/null ${who} -H 'Content-Type: application/json' -d '{"id":"${id(n)}","disk_format":"raw","container_format":"bare"}' ${gatewayUrl}/v2/images`;
  const put = (n: number, more = '') =>
    `curl -sS ${who} -H 'Content-Type: application/octet-stream'${more} -T - ${gatewayUrl}/v2/images/${id(n)}/file`;
  return `Sluice serves ${gatewayUrl} (operators: ${adminUrl}/uploads, ${adminUrl}/metrics).
Behind it an image API keeps its files in a scratch folder; project "demo" may store 200 MiB. Try:

1. An upload of 100 MiB (prints 204):
   ${create(1)}; head -c 104857600 /dev/zero | ${put(1, " -w '%{http_code}\\n'")}

2. One of 150 MiB more, of unknown length: stopped at the first byte over the quota (413):
   ${create(2)}; head -c 157286400 /dev/zero | ${put(2)}

3. A slow upload whose image is deleted after two seconds: the upload ends at once (410), its bytes are back:
   ${create(3)}; (sleep 2; curl -sS ${who} -X DELETE ${gatewayUrl}/v2/images/${id(3)}) & (head -c 1048576 /dev/zero; sleep 10) | ${put(3)}

Ctrl-C ends it and removes the scratch folder.
`;
}
