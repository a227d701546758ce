"""A stand-in for kube-apiserver: HTTPS, authentication, authorisation, and the few resources that kubemint uses.

  apiserver.py --name NAME --address IP:PORT --shared DIR --cert PEM --key PEM --client-ca PEM --token-file CSV --ca-key PEM

The token file is read once, at the start, as the real one does. --shared holds what all servers of a cluster have in
common: store/, control/NAME.json (faults, read at each request), log/NAME.access (a JSON line per request), log/NAME.life
(lines "MS listening|ready|stopping") and log/NAME.unknown (what was asked for that the stand-in does not know).
TLS asks for a client certificate without judging it, as Go's RequestClientCert: a bad one ends in 401.
"""

import argparse
import ctypes
import http.server
import json
import os
import signal
import socketserver
import ssl
import sys
import threading
import time
import urllib.parse
import _ssl

import api_auth
import api_protobuf
import api_resources
import api_signer
import api_store
from api_store import Refusal

PROBES = ("/readyz", "/livez", "/healthz")
handshake = threading.local()
# Callbacks that OpenSSL may still call.
KEPT = []


def milliseconds():
    return int(time.time() * 1000)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options):
        self.options = options
        self.started = time.monotonic()
        self.at_start = self.control().get("at_start") or {}
        self.busy_served = {}
        if self.at_start.get("refuse"):
            sys.exit("told not to start")
        self.tokens = api_auth.read_tokens(self.token_text())
        self.store = api_store.Store(self.shared("store"))
        self.tls = make_context(options)
        address, _, port = options.address.rpartition(":")
        super().__init__((address, int(port)), Handler)
        self.lifeline("listening")
        api_signer.Controllers(self.store, options.client_ca, options.ca_key).start()
        threading.Thread(target=self.become_ready, daemon=True).start()

    def shared(self, *parts):
        return os.path.join(self.options.shared, *parts)

    def token_text(self):
        """The token file; or, told to keep old tokens, what the last server of this name has read."""
        kept = self.shared("control", f"{self.options.name}.tokens")
        if self.at_start.get("old_tokens") and os.path.exists(kept):
            with open(kept, newline="") as file:
                return file.read()
        if not self.options.token_file:
            return ""
        with open(self.options.token_file, newline="") as file:
            text = file.read()
        with open(kept, "w", newline="") as file:
            file.write(text)
        return text

    def control(self):
        try:
            with open(self.shared("control", f"{self.options.name}.json")) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def faults(self):
        """Those of now, and those told before the start for as long as they are still told."""
        control = self.control()
        lasting = self.at_start if control.get("at_start") == self.at_start else {}
        return {**lasting, **control}

    def is_warm(self, faults):
        return time.monotonic() - self.started >= faults.get("slow_start", 0)

    def become_ready(self):
        while True:
            faults = self.faults()
            if self.is_warm(faults) and not faults.get("not_ready"):
                return self.lifeline("ready")
            time.sleep(0.01)

    def log(self, kind, line):
        with open(self.shared("log", f"{self.options.name}.{kind}"), "a") as file:
            file.write(line + "\n")

    def lifeline(self, word):
        self.log("life", f"{milliseconds()} {word}")

    def stop(self, *_):
        self.lifeline("stopping")
        os._exit(0)

    def handle_error(self, request, client_address):
        """A broken connection is its client's business."""


def make_context(options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(options.cert, options.key)
    context.load_verify_locations(options.client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    # Python has no door to SSL_CTX_set_verify; its context object is a PyObject_HEAD and the SSL_CTX pointer.
    library = ctypes.CDLL(_ssl.__file__)
    library.X509_STORE_CTX_get_error.argtypes = [ctypes.c_void_p]
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    library.SSL_CTX_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    def note(good, chain):
        if not good:
            handshake.faults.append(library.X509_STORE_CTX_get_error(chain))
        return 1

    KEPT.append(note)
    library.SSL_CTX_set_verify(pointer, 1, note)
    return context


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 600

    def setup(self):
        handshake.faults = []
        self.request.settimeout(10)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.faults_shown = list(handshake.faults)
        self.certificate = self.request.getpeercert()
        super().setup()

    def log_message(self, *_):
        pass

    def respond(self, code, body, headers=()):
        if isinstance(body, dict):
            data, kind = json.dumps(body).encode(), "application/json"
        else:
            data, kind = body.encode(), "text/plain; charset=utf-8"
        self.send_response(code)
        for key, value in (("Content-Type", kind), ("Content-Length", str(len(data))), *headers):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)
        self.code = code

    def serve(self):
        self.code, self.user = 0, None
        split = urllib.parse.urlsplit(self.path)
        try:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            self.answer(split, body)
        except Refusal as refusal:
            if isinstance(refusal, api_resources.Unknown):
                self.server.log("unknown", f"{self.command} {self.path}")
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
            self.respond(
                refusal.code, {**status, "message": refusal.message, "reason": refusal.reason, "code": refusal.code}
            )
        finally:
            name = (self.user or {}).get("username", "")
            entry = {"ms": milliseconds(), "method": self.command, "path": self.path, "user": name, "status": self.code}
            self.server.log("access", json.dumps(entry))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = serve

    def answer(self, split, body):
        faults = self.server.faults()
        time.sleep(faults.get("slow", 0))
        while faults.get("hang"):
            time.sleep(0.05)
            faults = self.server.faults()
        self.user = api_auth.authenticate(
            self.server.tokens,
            None if faults.get("no_bootstrap_tokens") else self.server.store,
            self.certificate,
            self.faults_shown,
            self.headers.get("Authorization"),
        )
        if split.path.startswith(PROBES):
            return self.probe(split, faults)
        if faults.get("failing"):
            raise Refusal(500, "InternalError", "Internal error occurred: the stand-in was told to fail")
        if faults.get("secrets_denied") and "/secrets" in split.path and self.command in ("POST", "DELETE"):
            raise Refusal(403, "Forbidden", "secrets is forbidden: the stand-in was told to deny it")
        busy = faults.get("busy")
        if busy and self.server.busy_served.setdefault(busy["id"], 0) < busy["count"]:
            self.server.busy_served[busy["id"]] += 1
            text = "Too many requests, please try again later.\n"
            return self.respond(429, text, [("Retry-After", "1")])
        if not self.server.is_warm(faults) and "system:masters" not in self.user["groups"]:
            # As a real one that has not read its roles yet.
            raise Refusal(403, "Forbidden", f'forbidden: User "{self.user["username"]}" cannot do that: roles not found')
        is_public = split.path in ("/version", "/version/")
        if self.user is api_auth.ANONYMOUS and not is_public and api_resources.parse_path(split.path) is None:
            raise Refusal(403, "Forbidden", f'forbidden: User "system:anonymous" cannot get path "{split.path}"')
        request = {
            "method": self.command,
            "path": split.path.rstrip("/") or "/",
            "query": dict(urllib.parse.parse_qsl(split.query)),
            "content_type": self.headers.get("Content-Type", ""),
            "body": self.parse(body) if body else None,
        }
        self.respond(*api_resources.answer(self.server.store, self.user, request))

    def parse(self, body):
        """A body as a dict; None where it is none."""
        kind = self.headers.get("Content-Type", "").partition(";")[0]
        try:
            if kind == "application/vnd.kubernetes.protobuf":
                return api_protobuf.parse(body)
            parsed = json.loads(body)
        except ValueError as error:
            if kind == "application/vnd.kubernetes.protobuf":
                raise api_resources.Unknown(415, "UnsupportedMediaType", str(error)) from error
            return None
        return parsed if isinstance(parsed, dict) else None

    def probe(self, split, faults):
        """As k8s.io/apiserver/pkg/server/healthz: text, one line per check where something fails or verbose is asked."""
        kind = split.path.split("/")[1]
        fails = kind == "readyz" and (faults.get("not_ready") or not self.server.is_warm(faults))
        if not fails and "verbose" not in split.query:
            return self.respond(200, "ok")
        lines = ["[+]ping ok", "[+]log ok", "[-]etcd failed: reason withheld" if fails else "[+]etcd ok"]
        end = f"{kind} check {'failed' if fails else 'passed'}"
        self.respond(500 if fails else 200, "\n".join([*lines, end]) + "\n")


def main():
    parser = argparse.ArgumentParser()
    for flag in ("name", "address", "shared", "cert", "key", "client-ca", "ca-key"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--token-file")
    with open("/proc/self/comm", "w") as file:
        file.write("kube-apiserver")
    server = Server(parser.parse_args())
    signal.signal(signal.SIGTERM, server.stop)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
