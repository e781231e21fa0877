// Runs the WASM module of `check` in Node: prints a line a run, and the exit code is the verdict.
//
//   scripts/cross.sh wasm32-unknown-unknown rustc --package check --lib --crate-type cdylib --release
//   node scripts/check-wasm.mjs target/cross/wasm32-unknown-unknown/release/check.wasm
import { readFile } from 'node:fs/promises';
import process from 'node:process';

const PAGE = 65536; // bytes; room for some 500 lines

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error('usage: check-wasm.mjs MODULE');
  process.exit(2);
}

// No imports: the module stands alone, or this throws.
const { instance } = await WebAssembly.instantiate(await readFile(path), {});
const { memory, check } = instance.exports;

const out = memory.grow(1) * PAGE;
const written = check(out, PAGE);
const lines = new Uint8Array(memory.buffer, out, Math.abs(written));
process.stdout.write(new TextDecoder().decode(lines));
if (written === 0) console.error('check-wasm.mjs: a case cannot run, or its line does not fit');
process.exitCode = written > 0 ? 0 : 1;
