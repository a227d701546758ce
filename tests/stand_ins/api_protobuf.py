"""Bodies that kubectl sends as application/vnd.kubernetes.protobuf, as the dicts that their JSON would be.

Only the messages that are sent to the stand-in, and only the fields it looks at (generated.proto of the API groups): an
envelope "k8s\\0" + runtime.Unknown, with the object in its field 2. Answers are JSON, which such clients take too.
"""

import base64
import time

MAGIC = b"k8s\0"
META = {1: ("name", str), 2: ("generateName", str), 3: ("namespace", str), 5: ("uid", str), 6: ("resourceVersion", str)}
TIME = {1: ("seconds", int)}
CONDITION = {
    **{1: ("type", str), 2: ("reason", str), 3: ("message", str), 6: ("status", str)},
    **{4: ("lastUpdateTime", TIME), 5: ("lastTransitionTime", TIME)},
}
CSR = {
    1: ("metadata", META),
    2: ("spec", {1: ("request", bytes), 5: ("usages", [str]), 7: ("signerName", str), 8: ("expirationSeconds", int)}),
    3: ("status", {1: ("conditions", [CONDITION]), 2: ("certificate", bytes)}),
}
ATTRIBUTES = {
    **{1: ("namespace", str), 2: ("verb", str), 3: ("group", str), 4: ("version", str)},
    **{5: ("resource", str), 6: ("subresource", str), 7: ("name", str)},
}
SCHEMAS = {
    # Maps are lists of entries with fields 1 and 2.
    "Secret": {
        **{1: ("metadata", META), 2: ("data", {1: ("key", str), 2: ("value", bytes)}), 3: ("type", str)},
        4: ("stringData", {1: ("key", str), 2: ("value", str)}),
    },
    "CertificateSigningRequest": CSR,
    "SelfSubjectReview": {1: ("metadata", META)},
    "SelfSubjectAccessReview": {1: ("metadata", META), 2: ("spec", {1: ("resourceAttributes", ATTRIBUTES)})},
}


def fields(data):
    """Number and value of each field: an integer, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            value = varint()
        elif kind == 2:
            length = varint()
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"a field of wire type {kind}")
        yield tag >> 3, value


def decode(data, schema):
    result = {}
    for number, value in fields(data):
        if number not in schema:
            continue
        name, kind = schema[number]
        many = isinstance(kind, list)
        kind = kind[0] if many else kind
        if kind is TIME:
            value = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(decode(value, TIME).get("seconds", 0)))
        elif isinstance(kind, dict):
            value = decode(value, kind)
        elif kind is str:
            value = value.decode()
        elif kind is bytes:
            value = base64.b64encode(value).decode()
        if name in ("data", "stringData"):
            result.setdefault(name, {})[value["key"]] = value.get("value", "")
        elif many:
            result.setdefault(name, []).append(value)
        else:
            result[name] = value
    return result


def parse(body):
    """The object in an envelope; ValueError where it is none, or of a kind that is not here."""
    if not body.startswith(MAGIC):
        raise ValueError("no protobuf envelope")
    try:
        envelope = dict(fields(body[len(MAGIC) :]))
        kind = dict(fields(envelope[1]))[2].decode()
        return decode(envelope[2], SCHEMAS[kind])
    except (KeyError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"protobuf that is not known here: {error!r}") from error
