#!/bin/sh
# Makes the certificates of this directory anew: sh base/testdata/tls/make.sh. Needs OpenSSL 3.
# They are for tests only, their keys are public, and they are good for a hundred years.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
days=36500

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

authority() {
  key "$work/$1-key.pem"
  openssl req -x509 -new -key "$work/$1-key.pem" -days $days -subj "/CN=$2" -out "$1.pem"
}

# signed NAME AUTHORITY COMMON-NAME ALTERNATIVE-NAMES [START END]
signed() {
  key "$1-key.pem"
  openssl req -new -key "$1-key.pem" -subj "/CN=$3" -out "$work/$1.csr"
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$4" > "$work/$1.ext"
  : > "$work/index.txt"
  printf '[ca]\ndefault_ca=test\n[test]\ndatabase=%s\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n' \
    "$work/index.txt" "$work" > "$work/ca.conf"
  openssl ca -batch -notext -config "$work/ca.conf" -cert "$2.pem" -keyfile "$work/$2-key.pem" -extfile "$work/$1.ext" \
    -startdate "${5:-20260101000000Z}" -enddate "${6:-21260101000000Z}" -in "$work/$1.csr" -out "$1.pem" 2> "$work/log" || { cat "$work/log"; exit 1; }
}

authority ca "Millrace test authority"
authority other-ca "Another test authority"
signed server ca localhost DNS:localhost,IP:127.0.0.1
signed elsewhere ca elsewhere.test DNS:elsewhere.test
signed expired ca localhost DNS:localhost,IP:127.0.0.1 20200101000000Z 20210101000000Z
signed client ca billing DNS:billing.test
signed stranger other-ca stranger DNS:stranger.test
key self-signed-key.pem
openssl req -x509 -new -key self-signed-key.pem -days $days -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out self-signed.pem
openssl pkcs8 -topk8 -in client-key.pem -passout pass:millrace -out client-key-encrypted.pem
