#!/bin/bash
# Made the certificates beside this file, once, with OpenSSL 3. They are good for a hundred years and for tests only: their
# keys are public. Makes all of them anew.
set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C
DAYS=36500
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
authority() {
  key "$1"
  openssl req -x509 -new -key "$1.key" -out "$1.pem" -days $DAYS -subj "/CN=$1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
# signed NAME AUTHORITY SAN
signed() {
  key "$1"
  openssl x509 -req -in <(openssl req -new -key "$1.key" -subj "/CN=$1") -CA "$2.pem" -CAkey "$2.key" -days $DAYS \
    -out "$1.pem" -extfile <(echo "${3:+subjectAltName=$3}")
}
authority authority
authority stranger
signed server authority DNS:localhost,IP:127.0.0.1
signed images authority DNS:images.example.org
signed wildcard authority 'DNS:*.example.org,DNS:example.net'
signed nameless authority
signed ann authority
signed mallory stranger
# not after 2001
: >index
openssl req -new -key server.key -subj /CN=expired -out expired.csr
openssl ca -batch -notext -config <(printf '[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n') \
  -create_serial -cert authority.pem -keyfile authority.key -startdate 20000101000000Z -enddate 20010101000000Z -in expired.csr -out expired.pem \
  -extfile <(echo subjectAltName=DNS:localhost)
rm -f expired.csr index* serial* [0-9A-F]*.pem
openssl pkey -in server.key -aes256 -passout pass:secret -out locked.key
# too short for any library of today
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:512 -out weak.key
openssl req -x509 -new -key weak.key -out weak.pem -days $DAYS -subj /CN=weak -addext subjectAltName=DNS:localhost
rm stranger.key authority.key
