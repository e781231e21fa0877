#!/usr/bin/env bash
# Times flashlet beside PyTorch, ONNX Runtime, ggml and other Rust crates on one core of this machine.
#
#   benches/peers/run.sh [--quick] [--rows REGEX] [--peers torch,ort,ggml,rust] [--json FILE] [--markdown FILE]
#
# Installs what it needs into PEERS_DIR, target/peers unless that is set, and nowhere else.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

export PEERS_DIR=${PEERS_DIR:-${here%/benches/peers}/target/peers}
mkdir -p "$PEERS_DIR"
python=$PEERS_DIR/python/bin/python

if [[ ! -x $python ]]; then
    echo "run.sh: making a Python environment in $PEERS_DIR" >&2
    python3 -m venv "$PEERS_DIR/python"
fi
"$python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
exec "$python" -B "$here/compare" "$@"
