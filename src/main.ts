#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { certificateWarnings } from './config/certificate.ts';
import type { Config } from './config/config.ts';
import { effectiveYaml, formatConfigError, type Loaded, loadConfig, parseConfig } from './config/load.ts';
import { preflight } from './config/preflight.ts';
import { writeAddress } from './config/scalars.ts';
import { demoOptions, demoQuotaBytes, demoText } from './demo/demo.ts';
import { startImageApi } from './demo/image-api.ts';
import { Gateway } from './gateway.ts';
import { type Charge, Lifetime } from './lifetime.ts';
import { type Log, type OpenLog, openLog } from './log.ts';
import { ServiceManager } from './service-manager.ts';
import { flushSpans } from './tracing.ts';

const version = readVersion();

const program = new Command('sluice')
  .description('An upload gateway: meters, bounds and cancels uploads in front of an image API.')
  .version(version)
  .showHelpAfterError();

program
  .command('run')
  .description('run the gateway')
  .requiredOption('-c, --config <file>', 'configuration file')
  .action(async ({ config: file }: { config: string }) => {
    const loaded = await check(file);
    if (loaded === null) return fail();
    const open = openLog(loaded.config.log.level);
    await run(new Lifetime(process), open, loaded.config, {
      readConfig: () => readAgain(open.log, file),
      atEnd: async () => {},
    });
  });

program
  .command('check')
  .description('say whether a configuration file is right; exit status 0 or 1')
  .requiredOption('-c, --config <file>', 'configuration file')
  .option('--print', 'print the configuration in effect')
  .action(async ({ config: file, print }: { config: string; print?: boolean }) => {
    const loaded = await check(file);
    if (loaded === null) return fail();
    for (const warning of certificateWarnings(loaded.config, Date.now()))
      console.error(`${file}: warning: ${warning}`);
    process.stdout.write(print ? effectiveYaml(loaded.settings) : `${file}: ok\n`);
  });

program
  .command('demo')
  .description('run the gateway in front of an embedded image API, on loopback')
  .action(demo);

await program.parseAsync();

async function check(file: string): Promise<Loaded | null> {
  const result = loadConfig(file);
  const errors = 'errors' in result ? result.errors : await preflight(result);
  for (const error of errors) console.error(formatConfigError(error));
  return errors.length === 0 && 'config' in result ? result : null;
}

/** Starts, then stays until a signal ends it. Null where it cannot start. */
async function run(
  lifetime: Lifetime,
  { log, close }: OpenLog,
  config: Config,
  more: Pick<Charge, 'readConfig' | 'atEnd'>,
) {
  const gateway = new Gateway(config, log, version);
  void lifetime.ended
    .then(flushSpans)
    .then(close)
    .then(() => process.exit(0));
  try {
    await lifetime.serve({ gateway, log, manager: new ServiceManager(log), ...more });
  } catch (error) {
    console.error(`sluice: ${error instanceof Error ? error.message : String(error)}`);
    await more.atEnd();
    fail();
    return null;
  }
  return gateway;
}

async function readAgain(log: Log, file: string): Promise<Config | null> {
  const result = loadConfig(file);
  const errors = 'errors' in result ? result.errors : await preflight(result, { ports: false });
  if (errors.length === 0 && 'config' in result) return result.config;
  log.error(
    { errors: errors.map(formatConfigError) },
    'reload refused, the configuration before stays in force',
  );
  return null;
}

async function demo(): Promise<void> {
  // before there is a scratch folder that a signal could leave behind
  const lifetime = new Lifetime(process);
  const api = await startImageApi({ port: 9292, quotaBytes: demoQuotaBytes }).catch((error: unknown) => {
    console.error(
      `sluice: the embedded image API cannot start: ${error instanceof Error ? error.message : error}`,
    );
    return null;
  });
  if (api === null) return fail();
  const result = parseConfig(demoOptions(api.url));
  const errors = 'errors' in result ? result.errors : await preflight(result);
  if (errors.length > 0 || 'errors' in result) {
    for (const { message } of errors) console.error(`sluice: ${message}`);
    await api.stop();
    return fail();
  }
  const { config } = result;
  const gateway = await run(lifetime, openLog(config.log.level), config, {
    // there is no file: what holds is what is built in
    readConfig: async () => config,
    atEnd: () => api.stop(),
  });
  if (gateway?.addresses == null) return;
  const { listen, admin } = gateway.addresses;
  const [client] = listen;
  if (client !== undefined) {
    const text = demoText(`http://${writeAddress(client)}`, `http://${writeAddress(admin)}`);
    process.stdout.write(`\n${text}\n`);
  }
}

/** Ends with a status that says so, once what was begun has come to rest. */
function fail(): void {
  process.exitCode = 1;
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8'),
  );
  const found =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : null;
  return typeof found === 'string' ? found : 'unknown';
}
