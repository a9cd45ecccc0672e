#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Talks to the service of the guide as its chapter does, and stops it.   usage: 09_typed_routes_test.sh BINARY
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
  printf '%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n%s\r\n%s' \
    "$method" "$path" "${#body}" "$key" "$body" >&3
  answer=$(cat <&3)
  exec 3>&-
  for wanted in "$@"; do
    case $answer in *"$wanted"*) ;; *) fail "$method $path: no $wanted in: $answer" ;; esac
  done
}
key=""
ask POST /books '{"title":"Ficciones","authors":["Borges"]}' 'HTTP/1.1 401' '"code":"who_are_you"'
key=$'Authorization: Bearer open-sesame\r\n'
ask POST /books '{"title":"Ficciones","authors":["Borges"],"year":1944}' 'HTTP/1.1 201' '{"id":1,"title":"Ficciones"}' 'Location: /books/1'
ask POST /books '{"authors":[],"year":1}' 'HTTP/1.1 422' '"pointer":"/title"' '"pointer":"/authors"' '"pointer":"/year"'
ask GET /books/1 '' 'HTTP/1.1 200' '{"id":1,"title":"Ficciones"}' 'Cache-Control: no-store'
ask GET /books/2 '' 'HTTP/1.1 404' '"detail":"there is no book 2"' 'Cache-Control: no-store'
ask GET /books/x '' 'HTTP/1.1 422' '"pointer":"/path/id"'
ask GET '/books?limit=5' '' 'HTTP/1.1 200' '[{"id":1,"title":"Ficciones"}]'
ask GET '/books?limit=0' '' 'HTTP/1.1 422' '"pointer":"/query/limit","detail":"must be from 1 to 100"'
ask GET /openapi.json '' 'HTTP/1.1 200' '"openapi":"3.1.0"' '"summary":"Adds a book"' '"book_not_found"'
ask GET /docs '' 'HTTP/1.1 200' 'text/html'

kill -TERM "$server"
wait "$server"; status=$?
[ $status -eq 0 ] || fail "exit status $status after SIGTERM"
grep -q 'book_added.*by=Borges' "$log" || fail "no record of the book"
grep -q 'shutdown (SIGTERM) clean' "$log" || fail "no clean shutdown report"
