#!/bin/sh
# Installs what uv.lock says. With an index of CPU builds of torch, those, and none of the CUDA libraries.
# Usage: install.sh cpu|cuda [TORCH_INDEX]
set -eu

accelerator=$1
torch_index=${2:-}
case $accelerator in cpu | cuda) ;; *) echo "ACCELERATOR is cpu or cuda, not '$accelerator'" >&2; exit 2 ;; esac

set -- sync --frozen --no-dev --no-install-project --extra server --extra s3
if [ "$accelerator" = cuda ] || [ -z "$torch_index" ]; then
    exec uv "$@"
fi
locked=$(uv export --frozen --no-dev --extra server --no-hashes --no-emit-project --quiet)
for package in torch $(echo "$locked" | sed -n 's/^\(nvidia-[a-z0-9-]*\|triton\|cuda-[a-z0-9-]*\)==.*/\1/p'); do
    set -- "$@" --no-install-package "$package"
done
uv "$@"
version=$(echo "$locked" | sed -n 's/^torch==\([0-9.]*\).*/\1/p')
uv pip install --python "$UV_PROJECT_ENVIRONMENT" --no-deps --index-url "$torch_index" "torch==$version"
