// Reads what `llvm-cov export` wrote and prints lines and branches by module of src/.
//
//   node scripts/coverage.mjs COVERAGE.json [MODULE...]   and the branches of some modules that tests miss

import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import process from 'node:process';

const [file, ...listed] = process.argv.slice(2);
const { data } = JSON.parse(readFileSync(file, 'utf8'));

/** Each branch once, however often its code was instantiated: [line, column, times true, times false]. */
function branchesOf({ branches }) {
  const merged = new Map();
  for (const [line, column, endLine, endColumn, yes, no] of branches ?? []) {
    const key = [line, column, endLine, endColumn].join();
    const branch = merged.get(key) ?? [line, column, 0, 0];
    branch[2] += yes;
    branch[3] += no;
    merged.set(key, branch);
  }
  return [...merged.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

const modules = new Map();
const missed = [];
for (const { filename, ...coverage } of data[0].files) {
  const path = relative('src', filename);
  if (path.startsWith('..') || /tests\.rs$/.test(path)) continue;
  const name = path.split('/')[0].replace(/\.rs$/, '');
  const sums = modules.get(name) ?? { lines: [0, 0], branches: [0, 0] };
  modules.set(name, sums);
  sums.lines[0] += coverage.summary.lines.covered;
  sums.lines[1] += coverage.summary.lines.count;
  for (const [line, column, yes, no] of branchesOf(coverage)) {
    sums.branches[0] += (yes > 0) + (no > 0);
    sums.branches[1] += 2;
    if (listed.includes(name) && !(yes && no)) {
      const what = yes ? 'never false' : no ? 'never true' : 'never reached';
      missed.push(`src/${path}:${line}:${column}: ${what}`);
    }
  }
}

const cell = ([covered, count]) =>
  `${String(covered).padStart(6)} of ${String(count).padEnd(6)}` +
  (count ? `${((100 * covered) / count).toFixed(1)} %`.padStart(8) : ''.padStart(8));
const row = (name, { lines, branches }) =>
  console.log(`${name.padEnd(12)} ${cell(lines)}  ${cell(branches)}`);
const total = { lines: [0, 0], branches: [0, 0] };

console.log(`${'module'.padEnd(12)} ${'lines'.padEnd(24)}  branches`);
for (const [name, sums] of [...modules].sort(([a], [b]) => (a < b ? -1 : 1))) {
  row(name, sums);
  for (const kind of ['lines', 'branches']) {
    for (const at of [0, 1]) total[kind][at] += sums[kind][at];
  }
}
row('all', total);
if (listed.length) console.log(`\n${missed.join('\n')}`);
