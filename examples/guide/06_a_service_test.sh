#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Talks to the service of the guide as its chapter does, and stops it.   usage: 06_a_service_test.sh BINARY
set -uo pipefail
log=$(mktemp)
trap 'kill -9 "$server" 2>/dev/null; rm -f "$log"' EXIT
fail() { echo "failed: $*"; cat "$log"; exit 1; }

"$1" 127.0.0.1:0 2>"$log" & server=$!
port=""
for _ in $(seq 100); do
  port=$(sed -n 's/.*listening on http:\/\/127.0.0.1:\([0-9]*\).*/\1/p' "$log" | head -n 1)
  [ -z "$port" ] || break
  sleep 0.1
done
[ -n "$port" ] || fail "it does not listen"

# usage: ask METHOD PATH BODY EXPECTED...   the answer must contain each of EXPECTED
ask() {
  local method=$1 path=$2 body=$3 answer wanted
  shift 3
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf '%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' \
    "$method" "$path" "${#body}" "$body" >&3
  answer=$(cat <&3)
  exec 3>&-
  for wanted in "$@"; do
    case $answer in *"$wanted"*) ;; *) fail "$method $path: no $wanted in: $answer" ;; esac
  done
}
ask POST /notes '{"text":"buy rope"}' 'HTTP/1.1 201' '{"id":1,"text":"buy rope"}'
ask GET /notes/1 '' 'HTTP/1.1 200' '{"id":1,"text":"buy rope"}'
ask GET /notes/2 '' 'HTTP/1.1 404' '"code":"note_not_found"' '"detail":"there is no note 2"'
ask POST /notes '{"text":""}' 'HTTP/1.1 422' '"pointer":"/text"'

kill -TERM "$server"
wait "$server"; status=$?
[ $status -eq 0 ] || fail "exit status $status after SIGTERM"
grep -q 'notes_counted.*notes=1' "$log" || fail "the background task did not run"
grep -q 'shutdown (SIGTERM) clean' "$log" || fail "no clean shutdown report"
