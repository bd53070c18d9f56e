#!/bin/sh
# Starts the OpenCode server of one runner. It is part of every start, so it uses the shell's own commands and forks only for a
# missing directory.
#
#   (no arguments)      the server
#   -x, --long ...      the server, with these flags added
#   command ...         that command instead: `docker run --rm -it IMAGE sh`
#
# Exit codes of its own: 64 no usable password, 73 a directory cannot be written to. Everything else comes from OpenCode.
set -eu

fail() {
    code=$1
    shift
    printf 'runner: %s\n' "$@" >&2
    exit "$code"
}

# Signals do not end PID 1 unless it handles them, and OpenCode does not: without an init, `docker stop` would wait out its whole
# grace period. Where the engine already brought one (`--init`, as the runner does) this is not PID 1 and a second is not started.
init=
if [ "$$" -eq 1 ]; then init='/usr/bin/tini --'; fi

case "${1:--}" in
-*) ;;
*)
    # shellcheck disable=SC2086 # two words, or none
    exec $init "$@"
    ;;
esac

# A file and not a variable: variables show in `docker inspect`.
file=${RUNNER_PASSWORD_FILE:-/run/runner/password}
if [ ! -e "$file" ]; then
    fail 64 "no password: $file does not exist" \
        "mount a file that holds one line, the server's password: docker run -v \"\$PWD/password:/run/runner/password:ro\" ..."
fi
if [ ! -f "$file" ] || [ ! -r "$file" ]; then
    fail 64 "no password: $file is not a file that this user can read" \
        "make it readable for the uid that the container runs as (docker run --user)"
fi
# `read` fails at the end of a file without a final newline, and has the text all the same.
IFS= read -r OPENCODE_SERVER_PASSWORD <"$file" || :
if [ -z "$OPENCODE_SERVER_PASSWORD" ]; then
    fail 64 "no password: the first line of $file is empty" "write the server's password there"
fi
export OPENCODE_SERVER_PASSWORD

for dir in "$XDG_DATA_HOME" "$XDG_STATE_HOME" "$XDG_CACHE_HOME" "$HOME"; do
    # The error of mkdir names the cause (read-only file system, permission denied), so it is left to be seen.
    if [ ! -d "$dir" ]; then mkdir -p "$dir" || :; fi
    if [ ! -w "$dir" ]; then
        fail 73 "$dir cannot be written to" \
            "OpenCode keeps its data there: mount a directory that the container's uid owns, or a tmpfs, at /state and at /home/opencode"
    fi
done

# shellcheck disable=SC2086 # two words, or none
exec $init /opt/opencode/bin/opencode serve --hostname 0.0.0.0 --port 4096 "$@"
