// Compares what hosts printed: one table, and failure unless they agree.
//
//   node scripts/compare-hosts.mjs LINES...     files of JSON lines, as `check --json` prints them
//
// Runs that fuse multiply-add must have the same bits everywhere, and so must runs that do not. In
// tables nothing fuses: all must have the same.
import { readFileSync } from 'node:fs';
import process from 'node:process';

const runs = process.argv
  .slice(2)
  .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line));

/** Splits `items` by `key`, in order of first appearance: an array of [key, items]. */
function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  }
  return [...groups];
}

/** Hosts with their levels, if it is a matter of levels: `x86_64-linux scalar portable, wasm32 scalar`. */
function hosts(runs) {
  return groupBy(runs, (run) => run.host)
    .map(([host, runs]) => [host, ...runs.flatMap((run) => run.level ?? [])].join(' '))
    .join(', ');
}

/** Names the runs of a case that must agree. */
function classOf(run) {
  if (run.kind === 'table') return 'all';
  return run.fused ? 'fused' : 'unfused';
}

/** The largest error as a share of its bound; `-` where only bits count. */
function worst(runs) {
  const ratios = runs.flatMap((run) => run.err_over_bound ?? []);
  return ratios.length > 0 ? Math.max(...ratios).toPrecision(3) : '-';
}

// A row for each digest of a case and class: agreement is one row.
const rows = [['case', 'class', 'digest', 'err/bound', 'computed by']];
let classes = 0;
let differing = 0;
for (const [name, ofCase] of groupBy(runs, (run) => run.case)) {
  for (const [label, ofClass] of groupBy(ofCase, classOf)) {
    const digests = groupBy(ofClass, (run) => run.digest);
    classes += 1;
    differing += digests.length > 1;
    for (const [digest, same] of digests) {
      rows.push([name, label, digest, worst(same), hosts(same)]);
    }
  }
}

const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
for (const row of rows) {
  console.log(row.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd());
}

const overBound = runs.filter((run) => !(run.err_over_bound <= 1)).length;
console.log(
  `${runs.length} runs on ${groupBy(runs, (run) => run.host).length} hosts: ` +
    `${overBound} above the bound, ${differing} of ${classes} classes with differing bits`,
);
process.exitCode = runs.length > 0 && overBound === 0 && differing === 0 ? 0 : 1;
