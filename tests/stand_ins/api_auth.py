"""Who a request comes from and what it may do, as kube-apiserver decides it.

Static tokens are Go's encoding/csv as tokenfile.go reads it, once. Bootstrap-token Secrets are looked up at each request.
A client certificate must come from the client CA, be valid now and for client authentication; what is wrong with it was
noted during the handshake. Rights are those of the built-in roles and of the handbook's binding of node-bootstrapper.
"""

import base64
import datetime
import re

from api_store import Refusal

AUTHENTICATED = "system:authenticated"
ANONYMOUS = {"username": "system:anonymous", "uid": "", "groups": ["system:unauthenticated"]}
BOOTSTRAP_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
CSRS = ("certificates.k8s.io", "certificatesigningrequests")


def csv_records(text):
    """Go's encoding/csv with FieldsPerRecord = -1: a quote inside a bare field is an error, blank lines are skipped."""
    at = 0
    text = text.replace("\r\n", "\n")
    while at < len(text):
        if text[at] == "\n":
            at += 1
            continue
        record, more = [], True
        while more:
            if text[at : at + 1] == '"':
                field, at = "", at + 1
                while True:
                    end = text.find('"', at)
                    if end < 0:
                        raise ValueError('extraneous or missing " in quoted-field')
                    field, at = field + text[at:end], end + 1
                    if text[at : at + 1] != '"':
                        break
                    field, at = field + '"', at + 1
                if text[at : at + 1] not in ("", ",", "\n"):
                    raise ValueError('extraneous or missing " in quoted-field')
            else:
                end = min(i for i in (text.find(",", at), text.find("\n", at), len(text)) if i >= 0)
                field, at = text[at:end], end
                if '"' in field:
                    raise ValueError('bare " in non-quoted-field')
            record.append(field)
            more = text[at : at + 1] == ","
            at += 1
        yield record


def read_tokens(text):
    """A static token file: user by token. Of two rows with one token the later counts."""
    tokens = {}
    for record in csv_records(text):
        if len(record) < 3:
            raise ValueError(f"token file must have at least 3 columns, found {len(record)}")
        if record[0]:
            groups = record[3].split(",") if len(record) > 3 else []
            tokens[record[0]] = {"username": record[1], "uid": record[2], "groups": groups}
    return tokens


def bootstrap_user(store, token):
    match = BOOTSTRAP_TOKEN.fullmatch(token)
    if not match or store is None:
        return None
    try:
        secret = store.read("secrets", f"bootstrap-token-{match[1]}")
    except Refusal:
        return None
    data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    if secret.get("type") != "bootstrap.kubernetes.io/token" or secret["metadata"].get("namespace") != "kube-system":
        return None
    if (data.get("token-id"), data.get("token-secret")) != (match[1], match[2]):
        return None
    if data.get("usage-bootstrap-authentication") != "true" or is_over(data.get("expiration")):
        return None
    extra = [group for group in data.get("auth-extra-groups", "").split(",") if group]
    if not all(EXTRA_GROUP.fullmatch(group) for group in extra):
        return None
    return {"username": f"system:bootstrap:{match[1]}", "uid": "", "groups": ["system:bootstrappers", *extra]}


def is_over(expiration):
    """An expiration that cannot be read is over, as in the apiserver."""
    if not expiration:
        return False
    try:
        end = datetime.datetime.fromisoformat(expiration)
        return end <= datetime.datetime.now(datetime.timezone.utc)
    except (ValueError, TypeError):
        return True


def certificate_user(certificate):
    """CN and O of a certificate as ssl.getpeercert() has it."""
    parts = [part for rdn in certificate.get("subject", ()) for part in rdn]
    names = [value for key, value in parts if key == "commonName"]
    groups = [value for key, value in parts if key == "organizationName"]
    return {"username": names[-1], "uid": "", "groups": groups} if names and names[-1] else None


def authenticate(tokens, store, certificate, faults, header):
    """The user of a request; a Refusal (401) where something was shown and nothing of it is good."""
    user = None
    if certificate and not faults:
        user = certificate_user(certificate)
    scheme, _, token = (header or "").partition(" ")
    if user is None and scheme.lower() == "bearer":
        token = token.strip()
        user = tokens.get(token) or bootstrap_user(store, token)
    if user is not None:
        return {**user, "groups": [*user["groups"], AUTHENTICATED]}
    if certificate or header:
        raise Refusal(401, "Unauthorized", "Unauthorized")
    return ANONYMOUS


def may(user, verb, group, resource, subresource="", name=""):
    """The roles of system:masters, node-bootstrapper, node, node-proxier and basic-user."""
    groups, target = user["groups"], (group, resource)
    if "system:masters" in groups:
        return True
    if AUTHENTICATED not in groups:
        return False
    if group in ("authentication.k8s.io", "authorization.k8s.io"):
        return verb == "create" and resource.startswith("selfsubject")
    reads = verb in ("get", "list", "watch")
    is_bootstrapper = any(g in ("system:kubelet-bootstrap", "system:bootstrappers") for g in groups)
    if is_bootstrapper and target == CSRS and not subresource:
        return reads or verb == "create"
    if "system:nodes" in groups and user["username"].startswith("system:node:"):
        own = user["username"].removeprefix("system:node:")
        if target == CSRS and not subresource:
            return reads or verb == "create"
        if target == ("", "nodes"):
            return verb == "create" or (verb in ("get", "update", "patch") and name == own)
        return reads and target == ("", "services")
    if user["username"] == "system:kube-proxy":
        lists = (("", "services"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices"))
        return (verb in ("list", "watch") and target in lists) or (reads and target == ("", "nodes"))
    return False
