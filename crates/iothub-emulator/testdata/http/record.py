"""Records what an SDK of Microsoft says over HTTPS to an emulator, and what it is answered.

    record.py EMULATOR OUTPUT COMMAND ...

starts the emulator twice on ports of its own, runs the command against a proxy on port 443, and writes a transcript.
Strings that differ between the two runs are placeholders in it. The keys of all policies are known, so that tokens of the
year 2100 hold against any emulator that has the same.
"""

import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

KEY = "AAECAwQFBgcICQoLDA0ODw=="
POLICIES = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"]
# What an SDK reads of an answer.
HEADERS = ["content-type", "etag", "iothub-errorcode", "x-ms-continuation", "x-ms-item-type", "x-ms-command-statuscode"]
# Numbers of the emulator's own. A new twin has the same tag everywhere.
TAGS = ["etag", "deviceEtag"]
NEW_TWIN = "AAAAAAAAAAE="
ENTRA_KEY = pathlib.Path(__file__).parent.parent / "entra" / "entra.key"


def read_message(stream):
    """One message of HTTP/1.1 as start line, header lines and body; None at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.read(1)
        if not byte:
            return None
        head += byte
    start, *lines = head.decode().split("\r\n")[:-2]
    fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    body = b""
    if fields.get("transfer-encoding") == "chunked":
        while True:
            size = stream.readline()
            chunk = stream.read(int(size, 16) + 2)
            head += size + chunk
            body += chunk[:-2]
            if int(size, 16) == 0:
                return start, lines, fields, body, head
    elif fields.get("content-length"):
        body = stream.read(int(fields["content-length"]))
    return start, lines, fields, body, head + body


def serve(client, context, port, exchanges):
    with context.wrap_socket(client, server_side=True) as client:
        upstream = ssl.create_default_context()
        upstream.check_hostname, upstream.verify_mode = False, ssl.CERT_NONE
        with upstream.wrap_socket(socket.create_connection(("localhost", port))) as hub:
            theirs, ours = client.makefile("rb"), hub.makefile("rb")
            while request := read_message(theirs):
                hub.sendall(request[4])
                answer = read_message(ours)
                exchanges.append((request, answer))
                client.sendall(answer[4])


def record(emulator, command):
    exchanges = []
    with tempfile.TemporaryDirectory() as data:
        data = pathlib.Path(data)
        (data / "policies.json").write_text(json.dumps({name: [KEY, KEY] for name in POLICIES}))
        (data / "entra.key").write_text(ENTRA_KEY.read_text())
        process = subprocess.Popen([emulator, "--data-dir", data, "--log", "off"], stdout=subprocess.PIPE)
        try:
            ready = json.loads(process.stdout.readline())
            certificate(data)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(data / "proxy.pem", data / "proxy.key")
            listener = socket.create_server(("127.0.0.1", 443))

            def accept():
                while True:
                    try:
                        client, _ = listener.accept()
                    except OSError:
                        return
                    arguments = (client, context, ready["httpsPort"], exchanges)
                    threading.Thread(target=serve, args=arguments, daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            trust = {name: ready["caFile"] for name in ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")}
            subprocess.run(command, env={**os.environ, **trust}, check=True)
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        finally:
            process.kill()
            process.wait()
    return exchanges


def certificate(data):
    """A certificate for localhost that the emulator's authority signed."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=data, check=True, stderr=subprocess.DEVNULL)

    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "proxy.key", "-out", "proxy.csr", "-subj", "/CN=localhost")
    (data / "proxy.ext").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "proxy.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
            "-extfile", "proxy.ext", "-out", "proxy.pem")


def differences(one, other):
    """The strings of one JSON value that another has otherwise, in JSON within them too; and the tags of identities."""
    if isinstance(one, dict) and isinstance(other, dict):
        tags = [one[name] for name in TAGS if one.get(name, NEW_TWIN) != NEW_TWIN]
        return tags + [text for name in one for text in differences(one[name], other.get(name))]
    if isinstance(one, list) and isinstance(other, list):
        return [text for pair in zip(one, other) for text in differences(*pair)]
    if not isinstance(one, str) or one == other:
        return []
    return differences(parsed(one), parsed(other)) or [one]


def parsed(body):
    try:
        return json.loads(body)
    except ValueError:
        return None


def transcript(exchanges, again):
    requests = "\n".join("\n".join([request[0], *request[1], request[3].decode()]) for request, _ in exchanges)
    names = {}
    for (_, answer), (_, other) in zip(exchanges, again, strict=True):
        found = differences(parsed(answer[3]), parsed(other[3]))
        found += [answer[2][name] for name in HEADERS if answer[2].get(name) != other[2].get(name)]
        for text in found:
            numbers = len([name for name in names.values() if name])
            names.setdefault(text, str(numbers + 1) if text in requests else "")

    def masked(text):
        # What an error says in words is the emulator's own.
        text = re.sub(r'(ErrorCode:\w+;).*(?=",?$)', r"\1{{}}", text, flags=re.MULTILINE)
        text = re.sub(r'(\\"message\\":\\").*?(?=\\",\\")', r"\1{{}}", text)
        for value, name in sorted(names.items(), key=lambda item: -len(item[0])):
            text = text.replace(value, "{{%s}}" % name)
        return text

    parts = []
    for request, answer in exchanges:
        start, lines, _, body, _ = request
        # The machine it was recorded on is nobody's business.
        lines = [re.sub(r"\(Linux[^)]*\)|\(node[^)]*\)", "(...)", line) for line in lines]
        parts.append(masked("\n".join([f">>> {start}", *lines])) + "\n")
        if body:
            parts.append("\n" + masked(body.decode()).rstrip("\n") + "\n")
        kept = [f"{name}: {answer[2][name]}" for name in HEADERS if name in answer[2]]
        parts.append(masked("\n".join([f"<<< {answer[0].split()[1]}", *kept])) + "\n")
        if answer[3]:
            body = parsed(answer[3])
            body = answer[3].decode() if body is None else json.dumps(body, ensure_ascii=False, indent=1)
            parts.append("\n" + masked(body) + "\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


emulator, output, *command = sys.argv[1:]
pathlib.Path(output).write_text(transcript(record(emulator, command), record(emulator, command)))
