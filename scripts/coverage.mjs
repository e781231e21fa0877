// Reads what `llvm-cov export` wrote and prints lines and branches by module of src/.
//
//   node scripts/coverage.mjs COVERAGE.json [MODULE...]   and the branches of some modules that tests miss
//
// Left out, and counted below the table, are branches that no test on one machine can take both ways:
//
//   tests     those of tests themselves, in files or modules that only tests build (lines of such modules count)
//   compiler  in a `const fn`, never reached: the compiler ran it, not the tests
//   panics    conditions of `assert!` and `debug_assert!`, whose other way is a panic
//   processor questions to it (`is_available`, `has_..`, whether there are vectors), which it answers one way; and files of
//             src/simd and src/generated of which not a line ran: it lacks their instructions

import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import process from 'node:process';

const [file, ...listed] = process.argv.slice(2);
const { data } = JSON.parse(readFileSync(file, 'utf8'));

/** Each branch once, however often its code was instantiated: [line, column, end line, end column, times true, times false]. */
function branchesOf({ branches }) {
  const merged = new Map();
  for (const [line, column, endLine, endColumn, yes, no] of branches ?? []) {
    const key = [line, column, endLine, endColumn].join();
    const branch = merged.get(key) ?? [line, column, endLine, endColumn, 0, 0];
    branch[4] += yes;
    branch[5] += no;
    merged.set(key, branch);
  }
  return [...merged.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

/** The text from one place to another; lines and columns count from 1. */
function textOf(lines, [line, column, endLine, endColumn]) {
  const text = lines.slice(line - 1, endLine);
  text[text.length - 1] = text.at(-1).slice(0, endColumn - 1);
  text[0] = text[0].slice(column - 1);
  return text.join('\n');
}

/** Whether a place is inside the parentheses of an assertion that began at most a few lines above. */
function isAsserted(lines, [line, column]) {
  const before = textOf(lines, [Math.max(1, line - 3), 1, line, column]);
  const asserted = before.match(/assert!\(([^]*)$/)?.[1];
  return asserted !== undefined && asserted.split('(').length >= asserted.split(')').length;
}

/** Whether the function around a line is one that the compiler may run. */
function isConst(lines, line) {
  const header = /^\s*(pub(\([a-z]+\))? )?((const|unsafe) )*fn /;
  return /\bconst (unsafe )?fn /.test(lines.slice(0, line).findLast((text) => header.test(text)) ?? '');
}

const ASKED = /\bis_available\(|\bhas_\w+\(\)|\bVECTORS\b|\bHAS_VECTORS\b/;

/** The rule by which a branch is left out, if there is one. */
function ruleOf(path, lines, coverage, branch) {
  const [line, , , , yes, no] = branch;
  const tests = lines.findIndex((text, at) => text === '#[cfg(test)]' && /^mod \w+ \{/.test(lines[at + 1]));
  if (tests >= 0 && line > tests) return 'tests';
  if (isAsserted(lines, branch)) return 'panics';
  if (ASKED.test(textOf(lines, branch))) return 'processor';
  if (/^(simd|generated)\//.test(path) && coverage.summary.lines.covered === 0) return 'processor';
  if (!yes && !no && isConst(lines, line)) return 'compiler';
  return undefined;
}

const modules = new Map();
const missed = [];
const leftOut = { tests: 0, compiler: 0, panics: 0, processor: 0 };
for (const { filename, ...coverage } of data[0].files) {
  const path = relative('src', filename);
  if (path.startsWith('..') || /tests\.rs$/.test(path)) continue;
  const name = path.split('/')[0].replace(/\.rs$/, '');
  const sums = modules.get(name) ?? { lines: [0, 0], branches: [0, 0] };
  const lines = readFileSync(filename, 'utf8').split('\n');
  modules.set(name, sums);
  sums.lines[0] += coverage.summary.lines.covered;
  sums.lines[1] += coverage.summary.lines.count;
  for (const branch of branchesOf(coverage)) {
    const [line, column, , , yes, no] = branch;
    const rule = ruleOf(path, lines, coverage, branch);
    if (rule) {
      leftOut[rule] += 1;
      continue;
    }
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

console.log(`${'module'.padEnd(12)} ${'lines'.padEnd(24)}  sides of branches`);
for (const [name, sums] of [...modules].sort(([a], [b]) => (a < b ? -1 : 1))) {
  row(name, sums);
  for (const kind of ['lines', 'branches']) {
    for (const at of [0, 1]) total[kind][at] += sums[kind][at];
  }
}
row('all', total);
const counts = Object.entries(leftOut).map(([rule, count]) => `${count} ${rule}`);
console.log(`branches left out, by the rules in scripts/coverage.mjs: ${counts.join(', ')}`);
if (listed.length) console.log(`\n${missed.join('\n')}`);
