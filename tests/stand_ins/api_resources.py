"""What the stand-in apiserver answers, once it knows who asks: reviews, requests, nodes, Secrets, discovery.

`answer` takes a parsed request and gives (code, body). A path or verb that is not here is a Refusal 404 or 405 with
`unknown` set: a stand-in must not pretend.
"""

import base64
import copy

import api_auth
import api_signer
from api_store import Refusal, now

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
ANY = ["create", "delete", "get", "list", "patch", "update", "watch"]
# group, version: resource, kind, is namespaced, its subresources, verbs.
RESOURCES = {
    ("", "v1"): [
        ("nodes", "Node", False, ("status",), ANY),
        ("secrets", "Secret", True, (), ANY),
        ("services", "Service", True, (), ["list"]),
        ("endpoints", "Endpoints", True, (), ["list"]),
    ],
    ("certificates.k8s.io", "v1"): [
        ("certificatesigningrequests", "CertificateSigningRequest", False, ("approval", "status"), ANY),
    ],
    ("authentication.k8s.io", "v1"): [("selfsubjectreviews", "SelfSubjectReview", False, (), ["create"])],
    ("authorization.k8s.io", "v1"): [("selfsubjectaccessreviews", "SelfSubjectAccessReview", False, (), ["create"])],
    ("discovery.k8s.io", "v1"): [("endpointslices", "EndpointSlice", True, (), ["list"])],
}
STORED = ("certificatesigningrequests", "nodes", "secrets")
PUBLIC = ("/version", "/api", "/apis", "/openapi")
VERSION = {
    **{"major": "1", "minor": "34", "gitVersion": "v1.34.0-stand-in", "gitCommit": "", "gitTreeState": "clean"},
    **{"buildDate": "2025-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64"},
}


class Unknown(Refusal):
    """Nothing the stand-in knows."""


def invalid(kind, name, why):
    return Refusal(422, "Invalid", f'{kind} "{name}" is invalid: {why}')


def qualified(group, resource):
    return f"{resource}.{group}" if group else resource


def api_version(group, version):
    return f"{group}/{version}" if group else version


# --- discovery --------------------------------------------------------------------------------------------------------


def discovery(path):
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        groups = [group_of(group, version) for group, version in RESOURCES if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    for (group, version), resources in RESOURCES.items():
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if path == base:
            return {
                **{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version)},
                "resources": [entry for resource in resources for entry in resource_entries(*resource)],
            }
        if group and path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **group_of(group, version)}
    if path.startswith("/openapi"):
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    raise Unknown(404, "NotFound", "the server could not find the requested resource")


def group_of(group, version):
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def resource_entries(name, kind, namespaced, subresources, verbs):
    short = {"certificatesigningrequests": ["csr"], "nodes": ["no"], "services": ["svc"]}.get(name, [])
    entry = {"name": name, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
    yield {**entry, "shortNames": short}
    for subresource in subresources:
        yield {**entry, "name": f"{name}/{subresource}", "singularName": "", "verbs": ["get", "patch", "update"]}


# --- the way in -------------------------------------------------------------------------------------------------------


def parse_path(path):
    """group, version, namespace, resource, name, subresource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        (group, version), rest = ("", parts[1]), parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        (group, version), rest = (parts[1], parts[2]), parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return (group, version, namespace, *rest) if len(rest) == 3 else None


def answer(store, user, request):
    """`request` has method, path, query (a dict), content_type and body (a dict, or None)."""
    target = parse_path(request["path"])
    if target is None or target[3] == "":
        if request["method"] != "GET":
            raise Unknown(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return 200, discovery(request["path"])
    group, version, namespace, resource, name, subresource = target
    known = {entry[0]: entry for entry in RESOURCES.get((group, version), ())}.get(resource)
    if known is None or (subresource and subresource not in known[3]):
        raise Unknown(404, "NotFound", "the server could not find the requested resource")
    verb = VERBS.get(request["method"], "get" if name else "list")
    full = f"{resource}/{subresource}" if subresource else resource
    if not api_auth.may(user, verb, group, resource, subresource, name):
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        raise Refusal(
            403,
            "Forbidden",
            f'{qualified(group, resource)}{f" {chr(34)}{name}{chr(34)}" if name else ""} is forbidden: User '
            f'"{user["username"]}" cannot {verb} resource "{full}" in API group "{group}" {where}',
        )
    if verb not in known[4] or request["query"].get("watch") in ("true", "1"):
        raise Unknown(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    kind = known[1]
    head = {"kind": kind, "apiVersion": api_version(group, version)}
    if resource.startswith("selfsubject"):
        return 201, {**head, **review(user, kind, request["body"])}
    if resource not in STORED:
        return 200, {"kind": f"{kind}List", "apiVersion": head["apiVersion"], "metadata": {}, "items": []}
    if resource == "secrets" and namespace not in ("", "kube-system"):
        raise Unknown(404, "NotFound", f'namespaces "{namespace}" is not of the stand-in')
    return stored(store, user, request, head, resource, name, subresource, verb)


def review(user, kind, body):
    if kind == "SelfSubjectReview":
        return {"metadata": {"creationTimestamp": now()}, "status": {"userInfo": user}}
    spec = (body or {}).get("spec", {})
    wanted = spec.get("resourceAttributes", {})
    parts = (wanted.get(key, "") for key in ("verb", "group", "resource", "subresource", "name"))
    allowed = bool(wanted) and api_auth.may(user, *parts)
    return {"metadata": {}, "spec": spec, "status": {"allowed": allowed}}


def stored(store, user, request, head, resource, name, subresource, verb):
    body = request["body"]
    if verb == "list":
        return 200, page(store, head, resource, request["query"])
    if verb == "get":
        return 200, {**head, **store.read(resource, name)}
    if verb == "delete":
        if not name:
            raise Unknown(405, "MethodNotAllowed", "the stand-in deletes one at a time")
        store.delete(resource, name)
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if body is None:
        raise Refusal(400, "BadRequest", "the body cannot be read as JSON")
    if verb == "create":
        if name:
            raise Unknown(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        prepare = {"certificatesigningrequests": new_csr, "secrets": new_secret, "nodes": new_node}[resource]
        return 201, {**head, **store.create(resource, prepare(user, copy.deepcopy(body)))}
    if resource == "secrets" or (resource == "certificatesigningrequests" and not subresource):
        raise Unknown(405, "MethodNotAllowed", f"the stand-in does not change {resource}")

    def change(old):
        new = merged(old, body, request["content_type"]) if verb == "patch" else body
        if resource == "nodes":
            part = "status" if subresource else "spec"
            return {**old, part: new.get(part, old.get(part, {}))}
        return decided(old, new, subresource)

    version = (body.get("metadata") or {}).get("resourceVersion")
    return 200, {**head, **store.update(resource, name, change, version)}


def page(store, head, resource, query):
    items = store.list(resource)
    meta = {"resourceVersion": str(store.revision())}
    if query.get("continue"):
        after = base64.urlsafe_b64decode(query["continue"]).decode()
        items = [item for item in items if item["metadata"]["name"] > after]
    limit = int(query.get("limit") or 0)
    if 0 < limit < len(items):
        meta["remainingItemCount"] = len(items) - limit
        items = items[:limit]
        meta["continue"] = base64.urlsafe_b64encode(items[-1]["metadata"]["name"].encode()).decode()
    return {"kind": head["kind"] + "List", "apiVersion": head["apiVersion"], "metadata": meta, "items": items}


def merged(old, patch, content_type):
    """A merge patch, or a strategic one, which differs here in that conditions are told apart by their type."""
    if content_type not in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        raise Unknown(415, "UnsupportedMediaType", f"the stand-in does not know patches of {content_type!r}")
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif key == "conditions" and content_type.startswith("application/strategic"):
            by_type = {condition["type"]: condition for condition in old.get(key) or ()}
            for condition in value:
                by_type[condition["type"]] = {**by_type.get(condition["type"], {}), **condition}
            result[key] = list(by_type.values())
        else:
            result[key] = merged(old.get(key), value, content_type)
    return result


# --- requests ---------------------------------------------------------------------------------------------------------


def new_csr(user, value):
    """pkg/apis/certificates/validation and the admission plugin CertificateSubjectRestriction."""
    name = value.get("metadata", {}).get("name") or value.get("metadata", {}).get("generateName", "")
    given = value.get("spec") or {}
    fault = lambda why: invalid("CertificateSigningRequest.certificates.k8s.io", name, why)
    try:
        request = api_signer.read_request(base64.b64decode(given.get("request") or "", validate=True))
    except ValueError as error:
        raise fault(f"spec.request: Invalid value: {error}") from error
    if "/" not in given.get("signerName", ""):
        raise fault("spec.signerName: Required value")
    if not given.get("usages"):
        raise fault("spec.usages: Required value: usages must be specified")
    if given.get("expirationSeconds") is not None and given["expirationSeconds"] < 600:
        raise fault("spec.expirationSeconds: Invalid value: may not specify a duration less than 600 seconds (10 minutes)")
    if given["signerName"] == "kubernetes.io/kube-apiserver-client" and "system:masters" in request["organizations"]:
        raise Refusal(403, "Forbidden", "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
    kept = {key: given[key] for key in ("request", "signerName", "usages", "expirationSeconds") if key in given}
    # Whose request it is comes from the authenticator, whatever the body says.
    return {"metadata": value["metadata"], "spec": {**kept, **{k: v for k, v in user.items() if v}}, "status": {}}


def decided(old, new, subresource):
    """The approval subresource changes conditions only, and never takes one back."""
    name = old["metadata"]["name"]
    fault = lambda why: invalid("CertificateSigningRequest.certificates.k8s.io", name, why)
    status = dict(old.get("status") or {})
    given = (new.get("status") or {}).get("conditions") or []
    before = {condition["type"]: condition for condition in status.get("conditions", ())}
    if subresource == "status":
        return {**old, "status": {**status, **(new.get("status") or {})}}
    kinds = [condition.get("type") for condition in given]
    if not set(before) <= set(kinds):
        raise fault("status.conditions: Forbidden: updates may not remove a condition of type Approved, Denied or Failed")
    if {"Approved", "Denied"} <= set(kinds):
        raise fault("status.conditions: Invalid value: Approved and Denied conditions are mutually exclusive")
    for condition in given:
        if not condition.get("type"):
            raise fault("status.conditions[0].type: Required value")
        if condition["type"] in ("Approved", "Denied", "Failed") and condition.get("status") != "True":
            raise fault("status.conditions[0].status: Unsupported value: only True is allowed")
        condition.setdefault("lastUpdateTime", now())
        condition.setdefault("lastTransitionTime", now())
    return {**old, "status": {**status, "conditions": given}}


# --- Secrets and nodes ------------------------------------------------------------------------------------------------


def new_secret(user, value):
    data = dict(value.get("data") or {})
    data.update({key: base64.b64encode(text.encode()).decode() for key, text in (value.get("stringData") or {}).items()})
    meta = {**value.get("metadata", {}), "namespace": "kube-system"}
    return {"metadata": meta, "type": value.get("type", "Opaque"), "data": data}


def new_node(user, value):
    name, username = value.get("metadata", {}).get("name"), user["username"]
    if username.startswith("system:node:") and username != f"system:node:{name}":
        raise Refusal(403, "Forbidden", f'node "{name}" is forbidden: node {username[12:]!r} cannot create another node')
    return {"metadata": value["metadata"], "spec": value.get("spec", {}), "status": value.get("status", {})}
