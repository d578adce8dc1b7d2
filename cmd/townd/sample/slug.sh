#!/bin/sh
# slug turns a title into the last part of a web address:
#   sh slug.sh 'Release 2'   prints release-2
printf '%s\n' "$1" |
  tr '[:upper:]' '[:lower:]' |
  tr -c 'a-z0-9\n' '-'
