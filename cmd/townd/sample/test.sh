#!/bin/sh
# Runs slug.sh on some titles and compares what it prints.
failed=0
check() { # check TITLE WANT
  got=$(sh ./slug.sh "$1")
  if [ "$got" = "$2" ]; then
    echo "ok   '$1' -> $got"
  else
    echo "FAIL '$1' -> $got, want $2"
    failed=1
  fi
}
check 'Readme' readme
check 'Release 2' release-2
check 'Hello, World!' hello-world
check '  Spaces  around ' spaces-around
exit $failed
