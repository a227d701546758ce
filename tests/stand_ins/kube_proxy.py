"""A stand-in for kube-proxy: reads its kubeconfig once, at the start, and from then on is whom that says.

  kube_proxy.py --kubeconfig FILE --identity FILE

Twice a second it asks the apiserver who it is (SelfSubjectReview) and writes {username, groups, serial, ms} to --identity;
`serial` is its certificate's, in hex. An answer other than 201 is written as {status}.
"""

import argparse
import base64
import json
import os
import signal
import sys
import time

import kubelet

REVIEW = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}


def main():
    parser = argparse.ArgumentParser()
    for flag in ("kubeconfig", "identity"):
        parser.add_argument(f"--{flag}", required=True)
    options = parser.parse_args()
    with open("/proc/self/comm", "w") as file:
        file.write("kube-proxy")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        values = kubelet.values_of(options.kubeconfig)
        api = kubelet.Api(values)
        pem = base64.b64decode(values["client-certificate-data"])
    except (OSError, KeyError) as error:
        sys.exit(f"invalid configuration: {error}")
    serial = kubelet.openssl("x509", "-noout", "-serial", stdin=pem).decode().strip().partition("=")[2]
    while True:
        try:
            code, answer = api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", REVIEW)
            found = answer["status"]["userInfo"] if code == 201 else {"status": code}
            text = json.dumps({**found, "serial": serial, "ms": int(time.time() * 1000)})
            kubelet.write_private(options.identity, text)
        except OSError as error:
            print(error, flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
