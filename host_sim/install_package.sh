#!/usr/bin/env bash
# install_package.sh NAME: get one package of the operating system, with whatever is here: apt as root or by sudo, or brew.
set -u
name=$1
if command -v apt-get >/dev/null; then
	run=""
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || { echo "$name is missing and you are not root: ask for 'apt-get install $name'" >&2; exit 1; }
		run=sudo
	fi
	echo "installing $name" >&2
	export DEBIAN_FRONTEND=noninteractive
	# Debian starts a Mosquitto of its own on port 1883 after the installation, and a Prometheus on 9090; Hum starts its own and needs none.
	$run apt-get update -qq >/dev/null && $run apt-get install -y -qq --no-install-recommends "$name" >/dev/null
elif command -v brew >/dev/null; then
	brew install --quiet "$name"
else
	echo "$name is missing, and neither apt-get nor brew is here: install it by hand" >&2
	exit 1
fi
