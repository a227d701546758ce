"""A stand-in for kubelet's way into the cluster: cmd/kubelet/app/server.go and pkg/kubelet/certificate/bootstrap.

  kubelet.py --node NAME --bootstrap-kubeconfig FILE --kubeconfig FILE --cert-dir DIR

A kubeconfig whose certificate holds is used, and the bootstrap file is not looked at. Without one, a certificate in
--cert-dir that still holds is used and makes no request. Otherwise: key, request, wait, certificate, kubeconfig. What
fails ends the process; its unit starts it again. Then the node is reported once a second: Ready, or not where
/run/stand-in/kubelet.unready is.
"""

import argparse
import base64
import datetime
import hashlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time

SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
# As kubelet/certificate/bootstrap has it; it is then started anew, as any service that fails.
LONGEST_WAIT = 15 * 60
UNREADY = "/run/stand-in/kubelet.unready"


def openssl(*arguments, stdin=None):
    return subprocess.run(("openssl", *arguments), input=stdin, capture_output=True, check=True).stdout


def values_of(path):
    """The scalars of a kubeconfig with one cluster and one user, by key."""
    with open(path) as file:
        text = file.read()
    return {key: value.strip().strip("\"'") for key, value in re.findall(r"^[\s-]*([a-z-]+):[ ]+(\S.*)$", text, re.M)}


class Api:
    """One kept connection; a failed one is made anew at the next call."""

    def __init__(self, values):
        self.server = values["server"].removeprefix("https://")
        self.ca = values["certificate-authority-data"]
        self.token = values.get("token")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(self.ca).decode())
        if values.get("client-certificate"):
            self.tls.load_cert_chain(values["client-certificate"], values["client-key"])
        elif values.get("client-certificate-data"):
            with tempfile.NamedTemporaryFile() as file:
                parts = (values["client-certificate-data"], values["client-key-data"])
                file.write(b"\n".join(base64.b64decode(part) for part in parts))
                file.flush()
                self.tls.load_cert_chain(file.name)
        self.connection = None

    def call(self, method, path, body=None, kind="application/json"):
        """Status and JSON; OSError where there is no answer."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.server, context=self.tls, timeout=5)
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.connection = None
            raise OSError(str(error)) from error
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"message": text.decode(errors="replace")}


def holds(pem_file):
    """Whether the certificate in it is valid now."""
    try:
        dates = openssl("x509", "-noout", "-dates", "-in", pem_file).decode()
    except subprocess.CalledProcessError:
        return False
    read = lambda key: ssl.cert_time_to_seconds(re.search(rf"{key}=(.*)", dates)[1])
    return read("notBefore") <= time.time() < read("notAfter")


def is_valid(kubeconfig):
    try:
        return holds(values_of(kubeconfig)["client-certificate"])
    except (OSError, KeyError):
        return False


def write_private(path, text):
    draft = path + ".draft"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.rename(draft, path)


def write_kubeconfig(options, bootstrap, current):
    write_private(
        options.kubeconfig,
        f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {bootstrap["certificate-authority-data"]}
    server: {bootstrap["server"]}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {{}}
users:
- name: default-auth
  user:
    client-certificate: {current}
    client-key: {current}
""",
    )


def bootstrap(options, current):
    values = values_of(options.bootstrap_kubeconfig)
    if not holds(current):
        request_certificate(options, Api(values), current)
    write_kubeconfig(options, values, current)


def request_certificate(options, api, current):
    os.makedirs(options.cert_dir, mode=0o700, exist_ok=True)
    key = os.path.join(options.cert_dir, "kubelet-client.key.tmp")
    if not os.path.exists(key):
        write_private(key, openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout").decode())
    subject = f"/O=system:nodes/CN=system:node:{options.node}"
    request = openssl("req", "-new", "-key", key, "-subj", subject)
    public = openssl("pkey", "-in", key, "-pubout")
    name = "node-csr-" + base64.urlsafe_b64encode(hashlib.sha256(public + subject.encode()).digest()).decode()[:40]
    name = re.sub("[^a-zA-Z0-9-]", "x", name).lower() + "0"
    status, answer = api.call(
        "POST",
        CSRS,
        {
            "kind": "CertificateSigningRequest",
            "apiVersion": "certificates.k8s.io/v1",
            "metadata": {"name": name},
            "spec": {
                "request": base64.b64encode(request).decode(),
                "signerName": SIGNER,
                "usages": ["digital signature", "client auth"],
            },
        },
    )
    # The request of an earlier attempt with the same key is waited for again.
    if status not in (201, 409):
        sys.exit(f"cannot create certificate signing request: {answer.get('message')}")
    until = time.monotonic() + LONGEST_WAIT
    while True:
        if time.monotonic() >= until:
            sys.exit(f"timed out waiting for certificate signing request {name}")
        time.sleep(0.1)
        try:
            status, found = api.call("GET", f"{CSRS}/{name}")
        except OSError:
            continue
        if status in (401, 403, 404):
            sys.exit(f"cannot watch certificate signing request: {found.get('message')}")
        state = found.get("status") or {}
        types = [condition["type"] for condition in state.get("conditions", ())]
        if "Denied" in types or "Failed" in types:
            os.unlink(key)
            sys.exit(f"certificate signing request {name} is {' and '.join(types)}")
        if state.get("certificate"):
            break
    with open(key) as file:
        pair = base64.b64decode(state["certificate"]).decode() + file.read()
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S")
    path = os.path.join(options.cert_dir, f"kubelet-client-{stamp}.pem")
    write_private(path, pair)
    link = current + ".new"
    os.symlink(path, link)
    os.rename(link, current)
    os.unlink(key)


def report(api, node):
    """The node with its condition Ready, as of now."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    if os.path.exists(UNREADY):
        ready |= {"status": "False", "reason": "KubeletNotReady", "message": "told not to be ready"}
    status = {"conditions": [{**ready, "lastHeartbeatTime": stamp, "lastTransitionTime": stamp}]}
    path = f"/api/v1/nodes/{node}/status"
    code, _ = api.call("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")
    if code == 404:
        head = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}}}
        code, _ = api.call("POST", "/api/v1/nodes", {**head, "status": status})
    return code


def main():
    parser = argparse.ArgumentParser()
    for flag in ("node", "bootstrap-kubeconfig", "kubeconfig", "cert-dir"):
        parser.add_argument(f"--{flag}", required=True)
    options = parser.parse_args()
    with open("/proc/self/comm", "w") as file:
        file.write("kubelet")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        if not is_valid(options.kubeconfig):
            bootstrap(options, os.path.join(options.cert_dir, "kubelet-client-current.pem"))
        api = Api(values_of(options.kubeconfig))
    except (OSError, KeyError, ssl.SSLError, subprocess.CalledProcessError) as error:
        sys.exit(f"failed to run Kubelet: {error}")
    while True:
        try:
            code = report(api, options.node)
            if code not in (200, 201):
                print(f"unable to update node status: {code}", flush=True)
        except OSError as error:
            print(f"unable to update node status: {error}", flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
