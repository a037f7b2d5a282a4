#!/bin/sh
# Makes the certificates of this directory anew, with OpenSSL 3. Run it here.
set -eu
days=36500
password=pass:test-password

openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days $days -subj "/CN=iothub-auth test CA" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout app.key -out app.csr -subj "/CN=iothub-auth test app" 2>/dev/null
printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n' > app.ext
openssl x509 -req -in app.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days $days -out leaf.pem \
    -extfile app.ext 2>/dev/null
openssl rsa -in app.key -traditional -out app-pkcs1.key 2>/dev/null
openssl pkcs8 -topk8 -in app.key -passout $password -out app-encrypted.key
openssl rsa -in app.key -traditional -aes128 -passout $password -out app-encrypted-pkcs1.key 2>/dev/null
openssl req -x509 -newkey rsa:1024 -nodes -keyout small.key -out small.crt -days $days -subj "/CN=small" 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.key -out ec.crt -days $days -subj "/CN=elliptic" 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out ec-sec1.key

cat app.key leaf.pem ca.pem > app.pem
cat ca.pem leaf.pem app-pkcs1.key > app-reversed-pkcs1.pem
cat app-encrypted.key leaf.pem > app-encrypted.pem
cat app-encrypted-pkcs1.key leaf.pem > app-encrypted-pkcs1.pem
cat app.key ca.pem > app-of-another.pem
cat small.key small.crt > small.pem
cat ec.key ec.crt > ec.pem
cat ec-sec1.key ec.crt > ec-sec1.pem

openssl pkcs12 -export -inkey app.key -in leaf.pem -certfile ca.pem -passout $password -out app.p12
openssl pkcs12 -export -inkey app.key -in leaf.pem -certfile ca.pem -passout pass: -out app-no-password.p12
openssl pkcs12 -export -inkey app.key -in leaf.pem -certfile ca.pem -passout $password -out app-3des.p12 \
    -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1
openssl pkcs12 -export -legacy -inkey app.key -in leaf.pem -certfile ca.pem -passout $password -out app-rc2.p12
openssl pkcs12 -export -inkey ec.key -in ec.crt -passout $password -out ec.p12
openssl pkcs12 -export -nokeys -in leaf.pem -passout $password -out no-key.p12

openssl pkey -in app.key -pubout -out app.pub
{
    printf 'sha1 '; openssl x509 -in leaf.pem -outform der | openssl dgst -sha1 -binary | openssl base64 -A
    printf '\nsha256 '; openssl x509 -in leaf.pem -outform der | openssl dgst -sha256 -binary | openssl base64 -A
    printf '\n'
} > thumbprints.txt

chmod 644 *.p12
rm -f ca.key ca.srl app.csr app.ext app.key app-pkcs1.key app-encrypted.key app-encrypted-pkcs1.key small.key small.crt ec.key ec.crt ec-sec1.key
