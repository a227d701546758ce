"""The controllers beside the apiservers: signs approved requests as kube-controller-manager does, and marks nodes that
have not been heard of for a while.

Every server runs them; who holds the lock of a round does the work. openssl reads the requests and signs. A request that
its signer does not allow gets the condition Failed, as from the real one.
"""

import base64
import datetime
import fcntl
import os
import re
import subprocess
import tempfile
import threading
import time

from api_store import Refusal, now

CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
USAGES = {
    CLIENT: ({"digital signature", "client auth"}, "clientAuth"),
    SERVING: ({"digital signature", "server auth"}, "serverAuth"),
}
YEAR = 365 * 24 * 3600
BACKDATED = 300
SILENT_AFTER = 8

CONFIG = """
[ca]
default_ca = it
[it]
dir = .
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
preserve = yes
[any]
organizationName = optional
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, {key_usage}
extendedKeyUsage = {extended}
authorityKeyIdentifier = keyid
"""


def openssl(*arguments, stdin=None, cwd=None):
    return subprocess.run(("openssl", *arguments), input=stdin, capture_output=True, cwd=cwd, check=True).stdout


def read_request(pem):
    """Organizations, common names, SANs and whether the key is RSA; ValueError where it is no request."""
    try:
        text = openssl("req", "-verify", "-noout", "-text", "-nameopt", "sep_multiline,utf8", stdin=pem).decode()
    except subprocess.CalledProcessError as error:
        raise ValueError("unable to parse the request") from error
    subject = text.partition("Subject:")[2].partition("Subject Public Key Info")[0]
    sans = re.search(r"X509v3 Subject Alternative Name:.*\n\s*(.*)", text)
    return {
        "organizations": re.findall(r"^\s*O\s?=(.*)$", subject, re.M),
        "names": re.findall(r"^\s*CN\s?=(.*)$", subject, re.M),
        "sans": [san.strip() for san in sans[1].split(",")] if sans else [],
        "rsa": "rsaEncryption" in text,
    }


def fault_of(spec, request):
    """Why the built-in signer does not sign it: pkg/apis/certificates/v1/helpers.go."""
    signer = spec["signerName"]
    needed, _ = USAGES[signer]
    usages = set(spec["usages"])
    if request["organizations"] != ["system:nodes"]:
        return "subject organization is not system:nodes"
    if not any(name.startswith("system:node:") for name in request["names"]):
        return "subject common name does not begin with system:node:"
    if usages - {"key encipherment"} != needed:
        return "usages did not match"
    if signer == CLIENT and request["sans"]:
        return "subject alternative names are not allowed"
    if signer == SERVING and not any(san.startswith(("DNS:", "IP Address:")) for san in request["sans"]):
        return "DNS or IP subjectAltName is required"
    return None


def sign(ca, key, spec, pem, request):
    """The certificate, PEM."""
    seconds = min(max(spec.get("expirationSeconds") or YEAR, 600), YEAR)
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=BACKDATED)
    dates = [when.strftime("%Y%m%d%H%M%SZ") for when in (start, start + datetime.timedelta(seconds=seconds))]
    usages = "digitalSignature" + (", keyEncipherment" if "key encipherment" in spec["usages"] else "")
    with tempfile.TemporaryDirectory() as work:
        with open(os.path.join(work, "config"), "w") as file:
            file.write(CONFIG.format(key_usage=usages, extended=USAGES[spec["signerName"]][1]))
        open(os.path.join(work, "index"), "w").close()
        with open(os.path.join(work, "request"), "wb") as file:
            file.write(pem)
        return openssl(
            *("ca", "-batch", "-notext", "-config", "config", "-extensions", "leaf", "-preserveDN", "-utf8"),
            *("-cert", ca, "-keyfile", key, "-startdate", dates[0], "-enddate", dates[1], "-in", "request"),
            cwd=work,
        )


class Controllers(threading.Thread):
    def __init__(self, store, ca, key):
        super().__init__(daemon=True)
        self.store, self.ca, self.key = store, ca, key

    def run(self):
        while True:
            with open(os.path.join(self.store.root, "leader"), "a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.sign_approved()
                    self.mark_silent_nodes()
                except BlockingIOError:
                    pass
            time.sleep(0.1)

    def sign_approved(self):
        for found in self.store.list("certificatesigningrequests"):
            status, spec = found.get("status", {}), found["spec"]
            types = {condition["type"] for condition in status.get("conditions", ())}
            if types != {"Approved"} or status.get("certificate") or spec["signerName"] not in USAGES:
                continue
            pem = base64.b64decode(spec["request"])
            request = read_request(pem)
            fault = fault_of(spec, request)
            certificate = None if fault else sign(self.ca, self.key, spec, pem, request)

            def change(value, fault=fault, certificate=certificate):
                state = value.setdefault("status", {})
                if fault:
                    failed = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": fault}
                    state["conditions"].append({**failed, "lastUpdateTime": now(), "lastTransitionTime": now()})
                else:
                    state["certificate"] = base64.b64encode(certificate).decode()
                return value

            try:
                self.store.update("certificatesigningrequests", found["metadata"]["name"], change)
            except Refusal:
                pass

    def mark_silent_nodes(self):
        limit = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - SILENT_AFTER))

        def silent(node):
            conditions = node.get("status", {}).get("conditions", ())
            return [c for c in conditions if c["type"] == "Ready" and c["status"] != "Unknown"
                    and c.get("lastHeartbeatTime", "") < limit]

        def change(node):
            for condition in silent(node):
                condition.update(status="Unknown", reason="NodeStatusUnknown", lastTransitionTime=now())
                condition["message"] = "Kubelet stopped posting node status."
            return node

        for node in self.store.list("nodes"):
            if silent(node):
                try:
                    self.store.update("nodes", node["metadata"]["name"], change)
                except Refusal:
                    pass
