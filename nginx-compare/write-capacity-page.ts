// node --import=tsx nginx-compare/write-capacity-page.ts: writes docs/capacity.md anew from the runs that are kept.
import { writeCapacityPage } from './capacity-files.ts';

await writeCapacityPage();
