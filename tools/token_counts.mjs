// Counts the tokens of the samples in tests/fixtures/token_counts with three public tokenizers, and writes counts.json.
//
//   npm install --no-save --prefix /tmp/tokenizers gpt-tokenizer@4.0.0 @anthropic-ai/tokenizer@0.0.4 llama3-tokenizer-js@1.2.0
//   node tools/token_counts.mjs /tmp/tokenizers
//
// The packages contain their vocabularies: nothing else is downloaded.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const packages = createRequire(join(resolve(process.argv[2]), "node_modules", "x"));
const o200k = packages("gpt-tokenizer/encoding/o200k_base");
const claude = packages("@anthropic-ai/tokenizer").getTokenizer();
const { default: llama3 } = await import(pathToFileURL(packages.resolve("llama3-tokenizer-js")));

const folder = new URL("../tests/fixtures/token_counts/", import.meta.url);
const counts = {};
for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt")).sort()) {
  const text = readFileSync(new URL(file, folder), "utf8");
  counts[file] = {
    o200k: o200k.encode(text).length,
    claude: claude.encode(text.normalize("NFKC")).length,
    llama3: llama3.encode(text, { bos: false, eos: false }).length,
  };
}
writeFileSync(new URL("counts.json", folder), `${JSON.stringify(counts, null, 2)}\n`);
