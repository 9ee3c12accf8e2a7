#!/usr/bin/env bash
# A dataset of staged answers from nothing to export, offline: questions of the drawn world, a served teacher that errs.
#
#     examples/data_demo.sh [FOLDER [COUNT]]        (`make data-demo` gives it runs/data-demo and 200)
#
# Started again it goes on in the same folder; what was answered is not asked for again.
set -euo pipefail
out="${1:-runs/data-demo}" count="${2:-200}"
mkdir -p "$out"
cd "$out"

echo "== 1. Questions with known answers, from a source that needs no files"
printf 'sources: {world: %d}\nroot: pictures\n' "$count" > recipe.yaml
stepsight data compose recipe.yaml --out questions.jsonl

echo "== 2. A teacher behind a server: a tenth each malformed, wrong, refused; a twentieth each 429 and 500"
: > url.txt
stepsight teacher serve --questions questions.jsonl --port 0 --retry-after 0.1 --log injected.jsonl > url.txt &
teacher=$!
trap 'kill "$teacher" 2> /dev/null || true; wait "$teacher" || true' EXIT
until grep -q http url.txt; do kill -0 "$teacher"; sleep 0.1; done
url="$(cat url.txt)"
echo "$url"

echo "== 3. Staged answers, repaired, sifted, accounted for"
stepsight data build questions.jsonl --out built --server "$url" --resume
echo "What the teacher did wrong on purpose (injected.jsonl):"
sed -n 's/.*"fault":"\([a-z0-9]*\)".*/\1/p' injected.jsonl | sort | uniq -c

echo "== 4. What is in it"
stepsight data audit built --out audit.html || echo "the audit has findings above what is allowed: see $out/audit.html"
stepsight data sheet built --out sheet.html

echo "== 5. The same for other trainers"
for format in trl llama-factory ms-swift; do stepsight data export built --to "$format" --out "for-$format"; done

echo "== Made in $out"
echo "  built/       train.jsonl, its pictures, train.parquet, manifest.json, rejects.jsonl, ledger.sqlite, recipe.yaml"
echo "  sheet.html   the data sheet; audit.html: the audit"
echo "  for-*        the rows as TRL, LLaMA-Factory and ms-swift read them"
