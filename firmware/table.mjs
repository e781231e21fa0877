// Joins what programs printed with what their ELF files say: one table, or JSON lines. Fails where an error is above its
// bound, and where machines that round alike differ by a bit.
//
//   node table.mjs [--json] [--check | --write] DIR MACHINE...     DIR holds MACHINE.PROGRAM.json and MACHINE.PROGRAM.elf (readelf)
//
// --check holds instructions, stack and sizes against measured.tsv; --write changes that.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const words = process.argv.slice(2);
const options = words.filter((word) => word.startsWith('--'));
const [dir, ...machines] = words.filter((word) => !word.startsWith('--'));
const asJson = options.includes('--json');
const MEASURED = new URL('measured.tsv', import.meta.url);
const COUNTS = ['instructions', 'stack_bytes', 'ram_bytes', 'flash_bytes'];
/** Counts change with the compiler, a little. */
const MARGIN = 0.03;

/** What measured.tsv says, by machine and case. */
function measured() {
  const lines = readFileSync(MEASURED, 'utf8').trim().split('\n').slice(1);
  return new Map(
    lines.map((line) => {
      const [machine, name, ...counts] = line.split('\t');
      return [`${machine}\t${name}`, counts.map(Number)];
    }),
  );
}

/** What differs from measured.tsv by more than the margin. */
function changed(rows) {
  const before = measured();
  return rows.flatMap((row) => {
    const counts = before.get(`${row.machine}\t${row.case}`);
    if (counts === undefined) return [`${row.case} on ${row.machine} is not in measured.tsv`];
    return COUNTS.flatMap((count, at) => {
      const [old, now] = [counts[at], row[count]];
      return Math.abs(now - old) <= MARGIN * old ? [] : [`${row.case} on ${row.machine}: ${now} ${count}, were ${old}`];
    });
  });
}

/** Changes the lines of these rows in measured.tsv, or adds them. */
function write(rows) {
  const all = measured();
  for (const row of rows) all.set(`${row.machine}\t${row.case}`, COUNTS.map((count) => row[count]));
  const lines = [...all].map(([key, counts]) => [key, ...counts].join('\t')).sort();
  writeFileSync(MEASURED, [['machine', 'case', ...COUNTS].join('\t'), ...lines, ''].join('\n'));
}

/** Bytes of an ELF file's sections that are loaded: those in flash, and those in memory. */
function sizes(elf) {
  const total = { flash: 0, ram: 0, inputs: 0 };
  for (const line of elf.split('\n')) {
    // [Nr] Name Type Address Offset Size EntSize Flags
    const section = line.match(/\] (\.\S+) +(PROGBITS|NOBITS|ARM_EXIDX)\s+\S+ \S+ (\S+) \S+ +(\w*A\w*)/);
    if (section) {
      const [, name, type, size, flags] = section;
      if (type !== 'NOBITS') total.flash += parseInt(size, 16);
      if (flags.includes('W') && name !== '.heap' && name !== '.stack') total.ram += parseInt(size, 16);
    }
    // Nr: Value Size OBJECT ... Name: what a case reads and is judged by is not what its kernels need.
    const symbol = line.match(/^ *\d+: \S+ +(\S+) OBJECT .* (\S*NUMBERS\S*)$/);
    if (symbol) total.inputs += Number(symbol[1]);
  }
  return total;
}

const read = (machine, program, kind) => readFileSync(join(dir, `${machine}.${program}.${kind}`), 'utf8');
const rows = [];
for (const machine of machines) {
  const programs = readdirSync(dir)
    .filter((name) => name.startsWith(`${machine}.`) && name.endsWith('.json'))
    .map((name) => name.split('.')[1]);
  const empty = sizes(read(machine, 'empty', 'elf'));
  for (const program of programs.filter((name) => name !== 'empty')) {
    const line = read(machine, program, 'json').split('\n').find((text) => text.startsWith('{'));
    if (line === undefined) continue;
    const { memory_bytes, ...run } = JSON.parse(line);
    const size = sizes(read(machine, program, 'elf'));
    rows.push({
      ...run,
      flash_bytes: size.flash - size.inputs - empty.flash,
      ram_bytes: memory_bytes + run.stack_bytes + size.ram - empty.ram,
    });
  }
}

const above = rows.filter((row) => !(row.err_over_bound <= 1));
const differing = rows.filter((row) =>
  rows.some((other) => other.case === row.case && other.fused === row.fused && other.digest !== row.digest),
);

if (asJson) {
  for (const row of rows) console.log(JSON.stringify(row));
} else {
  const columns = ['case', 'machine', 'instructions', 'stack_bytes', 'ram_bytes', 'flash_bytes', 'err_over_bound', 'digest'];
  const text = (row, column) => {
    const value = row[column];
    if (column === 'err_over_bound') return value.toFixed(3);
    return typeof value === 'number' ? value.toLocaleString('en') : value;
  };
  rows.sort((a, b) => a.case.localeCompare(b.case));
  const cells = [columns, ...rows.map((row) => columns.map((column) => text(row, column)))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at].length)));
  for (const line of cells) {
    const padded = line.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])));
    console.log(padded.join('  '));
  }
}
if (rows.length === 0) console.error('table.mjs: no case ran');
if (above.length) console.error(`table.mjs: above the bound: ${above.map((row) => `${row.case} on ${row.machine}`).join(', ')}`);
if (differing.length) console.error(`table.mjs: bits differ: ${differing.map((row) => `${row.case} on ${row.machine}`).join(', ')}`);
if (options.includes('--write')) write(rows);
const changes = options.includes('--check') ? changed(rows) : [];
for (const change of changes) console.error(`table.mjs: ${change}`);
process.exit(rows.length === 0 || above.length || differing.length || changes.length ? 1 : 0);
