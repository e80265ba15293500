import { writeFileSync } from 'node:fs';
import { generatedFiles } from './reference.ts';

// `npm run generate`: writes what is printed from the table of options.

for (const [path, content] of Object.entries(generatedFiles())) {
  writeFileSync(new URL(`../../${path}`, import.meta.url), content);
  process.stdout.write(`wrote ${path}\n`);
}
