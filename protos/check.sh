#!/bin/sh
# Whether the contract is in order: stubs as generated, names and comments by buf's rules, nothing broken since
# the committed image, and a line in CHANGELOG.md for that image.
set -eu
cd "$(dirname "$0")/.."
image=protos/codriver.v1.image.binpb
.venv-protos/bin/python protos/generate.py --check
node_modules/.bin/buf lint
node_modules/.bin/buf breaking --against "$image"
digest=$(sha256sum "$image" | cut -c1-16)
if ! grep -q "$digest" CHANGELOG.md; then
    echo "$image changed: CHANGELOG.md, Contract, must say why and name $digest" >&2
    exit 1
fi
