#!/bin/sh
# Puts everything that comes from npm below /out, as it will stand in the image. Runs in the build's first stage only.
#
#   OPENCODE_VERSION   the version, exact
#   TARGETARCH         amd64 or arm64; empty with the classic builder, then the base's own architecture is asked
set -eu

if [ -z "${OPENCODE_VERSION:-}" ]; then
    # shellcheck disable=SC2016 # to be typed as it stands
    echo 'OPENCODE_VERSION is not set: build with --build-arg OPENCODE_VERSION="$(cat docker/runner/opencode-version)"' >&2
    exit 64
fi

# The machine's certificate authorities, where the build was given them.
if [ -f /build/build-ca.crt ]; then
    export NODE_EXTRA_CA_CERTS=/build/build-ca.crt npm_config_cafile=/build/build-ca.crt
fi
export npm_config_loglevel=error npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false

# "baseline" needs no AVX2: an image moves between hosts, and an illegal instruction is a poor way to learn that one is older.
# Nothing is lost by it: when this was written both packages held the same file, byte for byte.
arch=${TARGETARCH:-$(dpkg --print-architecture)}
case "$arch" in
amd64) platform=linux-x64-baseline ;;
arm64) platform=linux-arm64 ;;
*)
    echo "OpenCode has no build for $arch; use amd64 or arm64" >&2
    exit 65
    ;;
esac

# The platform's package itself: the usual one would choose by this machine's processor, in an install script.
mkdir -p /build/npm /out/opt/opencode/bin /out/usr/share/doc/opencode
cd /build/npm
npm pack "opencode-ai@$OPENCODE_VERSION" "opencode-$platform@$OPENCODE_VERSION" >/dev/null
tar -xzf "opencode-ai-$OPENCODE_VERSION.tgz" package/LICENSE
tar -xzf "opencode-$platform-$OPENCODE_VERSION.tgz" package/bin/opencode
install -m 0755 package/bin/opencode /out/opt/opencode/bin/opencode
install -m 0644 package/LICENSE /out/usr/share/doc/opencode/copyright
rm -rf /build/npm

# What OpenCode would fetch itself, into each of its configuration directories that it may write to: without it the first session
# waits for npm as soon as a plugin is configured (70 s without a network). It compares package.json with the lock file, so both
# stay as npm wrote them.
config=/out/opt/opencode/config/opencode
mkdir -p "$config"
cd "$config"
printf '{"dependencies":{"@opencode-ai/plugin":"%s"}}\n' "$OPENCODE_VERSION" >package.json
npm install --ignore-scripts --omit=dev >/dev/null
# As OpenCode writes it; where it is missing on a read-only file system, every request fails.
printf 'node_modules\npackage.json\npackage-lock.json\nbun.lock\n.gitignore' >.gitignore
# Type declarations, source maps and TypeScript sources are more than two thirds of the bytes (64 MB, 19 without), and a running plugin loads none.
find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.cts' -o -name '*.mts' \) -delete
find node_modules -type d -empty -delete

chown -R root:root /out
chmod -R a+rX,go-w /out
