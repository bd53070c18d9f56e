#!/bin/sh
# Healthy means: the server answers to its own password. The password goes to curl over standard input, because arguments show in
# `ps` and in `docker top`.
set -eu
IFS= read -r password <"${RUNNER_PASSWORD_FILE:-/run/runner/password}" || :
token=$(printf '%s:%s' "${OPENCODE_SERVER_USERNAME:-opencode}" "$password" | base64 -w 0)
printf 'Authorization: Basic %s\n' "$token" |
    curl --silent --fail --output /dev/null --max-time 4 --header @- http://127.0.0.1:4096/global/health
