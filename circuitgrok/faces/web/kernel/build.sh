#!/bin/sh
# Compiles kernel.c to kernel.wasm, or to the file that is named: the same bytes from the same clang (Debian's 14.0.6).
set -eu
cd "$(dirname "$0")"
${CLANG:-clang} --target=wasm32 -std=c11 -O3 -msimd128 -ffreestanding -fno-builtin -nostdlib -Wall -Wextra -Werror \
  -Wl,--no-entry -Wl,--strip-all -Wl,--export=__heap_base -Wl,-z,stack-size=65536 -Wl,--initial-memory=1048576 \
  -o "${1:-kernel.wasm}" kernel.c
