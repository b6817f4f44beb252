#!/bin/sh
# Home Assistant starts this: OPTIONS are what was filled in, DATA stays from start to start.
set -eu
DATA=${DATA:-/data}
OPTIONS=${OPTIONS:-$DATA/options.json}

option() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$OPTIONS" "$1"
}

name=$(option deployment)
cd "$DATA"
if [ ! -e "$name/hum.toml" ]; then
	hum init "$name" --host "$(option host)"
fi
# `hum add` and the others find the deployment here, in HUM_DIR.
ln -sfn "$name" deployment
exec hum up --dir "$DATA/$name"
