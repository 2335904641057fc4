#!/bin/sh
# Signs in, sends a message and prints the text of its reply as it comes: curl.sh SITE USER PASSWORD MESSAGE
# Needs curl 7.82 or newer. Over HTTPS, Django also requires `--referer "$site"`.
set -eu
site=$1 user=$2 password=$3 message=$4
jar=$(mktemp)
trap 'rm -f "$jar"' EXIT
request() { curl --silent --show-error --fail-with-body --no-buffer --cookie "$jar" --cookie-jar "$jar" "$@"; }
token() { awk '$6 == "csrftoken" { print $7 }' "$jar"; }
# The text of a JSON string: quotes, backslashes, tabs and line breaks are escaped, other control characters left out.
escaped() {
    tab=$(printf '\t')
    printf '%s' "$1" | sed -e 's/[\\"]/\\&/g' -e "s/$tab/\\\\t/g" -e '$!s/$/\\n/' | LC_ALL=C tr -d '\000-\037'
}

request --output /dev/null "$site/accounts/login/"
request --output /dev/null --data-urlencode "username=$user" --data-urlencode "password=$password" \
    --data "csrfmiddlewaretoken=$(token)" "$site/accounts/login/"
# The sign-in has changed the token.
request --json "{\"content\": \"$(escaped "$message")\"}" --header "X-CSRFToken: $(token)" \
    "$site/chat/api/messages?format=text"
