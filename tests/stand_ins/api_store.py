"""What several stand-in apiservers share in place of etcd: one JSON file per object, one lock, one revision.

Reads take no lock, for every write is whole or not at all. An update that names an older resourceVersion is refused.
"""

import contextlib
import fcntl
import json
import os
import time
import uuid

KINDS = ("certificatesigningrequests", "nodes", "secrets")


def full_name(kind, name):
    """As messages name an object."""
    group = ".certificates.k8s.io" if kind == "certificatesigningrequests" else ""
    return f'{kind}{group} "{name}"'


class Refusal(Exception):
    """An answer that is a Status: its HTTP code, reason and message."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


def now():
    """As metav1.Time: RFC 3339, UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Store:
    def __init__(self, root):
        self.root = root
        for kind in KINDS:
            os.makedirs(os.path.join(root, kind), exist_ok=True)

    @contextlib.contextmanager
    def _locked(self):
        with open(os.path.join(self.root, "lock"), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, kind, name):
        if not name or "/" in name or name.startswith("."):
            raise Refusal(422, "Invalid", f"{kind} {name!r} is invalid: metadata.name")
        return os.path.join(self.root, kind, name)

    def revision(self):
        try:
            with open(os.path.join(self.root, "revision")) as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    def _write(self, kind, value):
        """Under the lock."""
        revision = self.revision() + 1
        value["metadata"]["resourceVersion"] = str(revision)
        path = self._path(kind, value["metadata"]["name"])
        for target, text in ((path, json.dumps(value)), (os.path.join(self.root, "revision"), str(revision))):
            draft = os.path.join(self.root, ".draft")
            with open(draft, "w") as file:
                file.write(text)
            os.rename(draft, target)
        return value

    def read(self, kind, name):
        try:
            with open(self._path(kind, name)) as file:
                return json.load(file)
        except FileNotFoundError:
            raise Refusal(404, "NotFound", f"{full_name(kind, name)} not found") from None

    def list(self, kind):
        found = []
        for name in sorted(os.listdir(os.path.join(self.root, kind))):
            with contextlib.suppress(Refusal):
                found.append(self.read(kind, name))
        return found

    def create(self, kind, value):
        meta = value.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        with self._locked():
            if os.path.exists(self._path(kind, meta.get("name"))):
                raise Refusal(409, "AlreadyExists", f"{full_name(kind, meta['name'])} already exists")
            meta.update(uid=str(uuid.uuid4()), creationTimestamp=now())
            return self._write(kind, value)

    def update(self, kind, name, change, version=None):
        """Writes what `change` makes of the stored object; `version` is the one the change was meant for."""
        with self._locked():
            value = self.read(kind, name)
            if version and version != value["metadata"]["resourceVersion"]:
                raise Refusal(
                    409,
                    "Conflict",
                    f"Operation cannot be fulfilled on {full_name(kind, name)}: the object has been modified; "
                    "please apply your changes to the latest version and try again",
                )
            return self._write(kind, change(value))

    def delete(self, kind, name):
        with self._locked():
            value = self.read(kind, name)
            os.unlink(self._path(kind, name))
            return value
