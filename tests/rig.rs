//! The stand-in apiserver judged by kubectl, curl and openssl: what rotation tests run against must behave as the real one.
#![allow(clippy::unwrap_used)]

mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{
    process::Command,
    time::{Duration, Instant},
};
use support::{Api, ControlPlane, Fault, Ran, eventually, require};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const USAGES: [&str; 2] = ["digital signature", "client auth"];

/// The status and body of a GET by curl, with more arguments.
fn curl(cluster: &ControlPlane, host: &str, path: &str, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(require("curl"));
    command.args(["-sS", "--noproxy", "*", "-w", "\n%{http_code}", "--cacert"]).arg(cluster.env().path("state/ca.pem"));
    let output = command.args(arguments).arg(format!("https://{}{path}", cluster.address(host))).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

fn bearer(cluster: &ControlPlane, host: &str, path: &str, token: &str) -> (String, String) {
    curl(cluster, host, path, &["-H", &format!("Authorization: Bearer {token}")])
}

fn openssl(script: &str, directory: &std::path::Path) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A request for that subject, with this in its extensions where it is not empty.
fn request(cluster: &ControlPlane, subject: &str, san: &str) -> Vec<u8> {
    let extra = if san.is_empty() { String::new() } else { format!("-addext subjectAltName={san}") };
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout asked-key.pem -subj '{subject}' {extra} \
         2>/dev/null"
    );
    openssl(&script, cluster.env().dir()).into_bytes()
}

/// The certificate of a request, once it is there.
fn certificate_of(cluster: &ControlPlane, name: &str) -> String {
    eventually("a certificate", || {
        let found = cluster.csrs().into_iter().find(|csr| csr["metadata"]["name"] == name)?;
        let data = found["status"]["certificate"].as_str()?.to_owned();
        Some(String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap())
    })
}

fn condition_of(cluster: &ControlPlane, name: &str, kind: &str) -> Option<Value> {
    let found = cluster.csrs().into_iter().find(|csr| csr["metadata"]["name"] == name)?;
    found["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
}

fn stored_token(cluster: &ControlPlane) -> String {
    cluster.env().read("state/token.csv").split(',').next().unwrap().to_owned()
}

/// Another token.csv on a host, put there by no tool of ours.
fn write_tokens(cluster: &ControlPlane, host: &str, text: &str) {
    cluster.host(host).write("/etc/kubernetes/token.csv", text);
}

fn restart(cluster: &ControlPlane, host: &str) {
    let began = cluster.downtimes(host).len();
    cluster.host(host).must("systemctl restart kube-apiserver");
    eventually("the apiserver", || cluster.downtimes(host).get(began).and_then(|downtime| downtime.to));
}

#[test]
fn kubectl_works_with_it() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(3).nodes(2).unjoined(&["node-2"]).start();
    let who = cluster.kubectl(&["auth", "whoami", "-o", "json"]).expect(0).stdout;
    let user = &serde_json::from_str::<Value>(&who).unwrap()["status"]["userInfo"];
    assert_eq!(user["username"], "kubernetes-admin");
    assert_eq!(user["groups"], json!(["system:masters", "system:authenticated"]));
    cluster.kubectl(&["version"]).expect(0).says(&["Server Version: v1.34.0-stand-in"]);
    cluster.kubectl(&["get", "--raw", "/readyz?verbose"]).expect(0).says(&["[+]ping ok", "readyz check passed"]);
    cluster.kubectl(&["get", "nodes", "-o", "name"]).expect(0).says(&["node/node-1"]);
    cluster.kubectl(&["get", "node", "node-2"]).expect(1).says(&["(NotFound)"]);
    // The joined one's is decided; the other one's waits, until it is approved by hand.
    let pending = cluster.pending_of("node-2");
    assert_eq!((cluster.csrs().len(), pending.len()), (2, 1));
    let got = cluster.kubectl(&["get", "csr", &pending[0], "-o", "jsonpath={.spec.username} {.spec.groups}"]).expect(0);
    assert_eq!(got.stdout, r#"kubelet-bootstrap ["system:kubelet-bootstrap","system:authenticated"]"#);
    cluster.kubectl(&["certificate", "approve", &pending[0]]).expect(0).says(&["approved"]);
    eventually("node-2", || cluster.is_node_ready("node-2").then_some(()));
    let condition = condition_of(&cluster, &pending[0], "Approved").unwrap();
    assert_eq!((&condition["status"], &condition["reason"]), (&"True".into(), &"KubectlApprove".into()));
    // All three apiservers have seen the same.
    for host in cluster.control_planes() {
        let (status, body) = cluster.api(host).call("GET", "/api/v1/nodes", None, None).unwrap();
        assert_eq!((status, body["items"].as_array().unwrap().len()), (200, 2), "{host}");
    }
}

#[test]
fn a_certificate_is_what_the_signer_gives_and_openssl_accepts() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    let pem = cluster.kubelet_certificate("node-1");
    cluster.env().write("kubelet.pem", &pem);
    let text = openssl(
        "openssl verify -CAfile state/ca.pem -purpose sslclient kubelet.pem
         openssl x509 -in kubelet.pem -noout -subject -nameopt oneline -ext extendedKeyUsage,keyUsage,basicConstraints
         openssl x509 -in kubelet.pem -noout -checkend 31000000
         openssl x509 -in kubelet.pem -noout -pubkey >a && openssl pkey -in kubelet.pem -pubout | cmp - a",
        cluster.env().dir(),
    );
    for words in [
        "kubelet.pem: OK",
        "O = system:nodes, CN = system:node:node-1",
        "TLS Web Client Authentication",
        "Digital Signature",
        "CA:FALSE",
        "will not expire",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("Server Authentication"), "{text}");
    // Its own rights: its node, nobody else's.
    let (status, _) = curl(&cluster, "cp-1", "/api/v1/nodes/node-1", &["--cert", &path(&cluster, "kubelet.pem")]);
    assert_eq!(status, "200");
    let mut node = Api::new(&cluster.address("cp-1"), &cluster.env().read("state/ca.pem"), Some(&pem));
    let patch = json!({"status": {}});
    assert_eq!(node.call("PATCH", "/api/v1/nodes/node-1/status", None, Some(&patch)).unwrap().0, 200);
    assert_eq!(node.call("PATCH", "/api/v1/nodes/node-2/status", None, Some(&patch)).unwrap().0, 403);
    assert_eq!(node.call("GET", "/api/v1/namespaces/kube-system/secrets", None, None).unwrap().0, 403);
}

fn path(cluster: &ControlPlane, name: &str) -> String {
    cluster.env().path(name).display().to_string()
}

#[test]
fn what_a_signer_does_not_allow_fails_even_when_it_is_approved() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    let token = stored_token(&cluster);
    let good = request(&cluster, "/O=system:nodes/CN=system:node:a", "");
    let bad = [
        ("group", request(&cluster, "/O=system:masters/CN=system:node:a", ""), USAGES.to_vec()),
        ("groups", request(&cluster, "/O=system:nodes/O=system:masters/CN=system:node:a", ""), USAGES.to_vec()),
        ("name", request(&cluster, "/O=system:nodes/CN=admin", ""), USAGES.to_vec()),
        ("san", request(&cluster, "/O=system:nodes/CN=system:node:a", "DNS:a"), USAGES.to_vec()),
        ("usages", good.clone(), vec!["digital signature", "server auth"]),
    ];
    for (name, pem, usages) in &bad {
        assert_eq!(cluster.post_csr(&token, name, SIGNER, usages, pem).0, 201, "{name}");
        cluster.decide(name, "Approved");
        eventually(name, || condition_of(&cluster, name, "Failed"));
    }
    assert_eq!(cluster.post_csr(&token, "good", SIGNER, &USAGES, &good).0, 201);
    cluster.kubectl(&["certificate", "deny", "good"]).expect(0);
    assert!(condition_of(&cluster, "good", "Denied").is_some());
    cluster.kubectl(&["certificate", "approve", "good"]).expect(1);
    // What the API does not even take.
    assert_eq!(cluster.post_csr(&token, "good", SIGNER, &USAGES, &good).0, 409);
    assert_eq!(cluster.post_csr(&token, "garbage", SIGNER, &USAGES, b"garbage").0, 422);
    assert_eq!(cluster.post_csr(&token, "unused", SIGNER, &[], &good).0, 422);
    assert!(cluster.csrs().iter().all(|csr| csr["status"]["certificate"].is_null()));
    // A serving certificate wants a name.
    let serving = ["digital signature", "server auth"];
    for (name, san, gets) in [("named", "DNS:a,IP:10.0.0.1", true), ("nameless", "", false)] {
        let pem = request(&cluster, "/O=system:nodes/CN=system:node:a", san);
        cluster.post_csr(&token, name, "kubernetes.io/kubelet-serving", &serving, &pem);
        cluster.decide(name, "Approved");
        if gets {
            cluster.env().write("serving.pem", certificate_of(&cluster, name));
            let text = openssl(
                "openssl x509 -noout -ext subjectAltName,extendedKeyUsage -in serving.pem",
                cluster.env().dir(),
            );
            assert!(text.contains("DNS:a, IP Address:10.0.0.1") && text.contains("Web Server"), "{text}");
        } else {
            eventually(name, || condition_of(&cluster, name, "Failed"));
        }
    }
}

#[test]
fn the_requester_is_who_was_authenticated_whatever_the_body_says() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    let pem = BASE64_STANDARD.encode(request(&cluster, "/O=system:nodes/CN=system:node:a", ""));
    let body = json!({"metadata": {"name": "liar"}, "spec": {"request": pem, "signerName": SIGNER, "usages": USAGES,
        "username": "system:node:a", "groups": ["system:masters"], "uid": "0"}, "status": {"certificate": "eA=="}});
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (status, made) =
        cluster.plain_api("cp-1").call("POST", path, Some(&stored_token(&cluster)), Some(&body)).unwrap();
    assert_eq!((status, &made["spec"]["username"]), (201, &"kubelet-bootstrap".into()));
    assert_eq!(made["spec"]["groups"], json!(["system:kubelet-bootstrap", "system:authenticated"]));
    assert!(made["status"]["certificate"].is_null(), "{made}");
    // Who may ask may not approve; who changed it meanwhile is told.
    let mut old = made.clone();
    old["status"]["conditions"] = json!([{"type": "Approved", "status": "True"}]);
    let approval = format!("{path}/liar/approval");
    let put = |token: Option<&str>, body: &Value| {
        let mut api = if token.is_some() { cluster.plain_api("cp-1") } else { cluster.api("cp-1") };
        api.call("PUT", &approval, token, Some(body)).unwrap().0
    };
    assert_eq!(put(Some(&stored_token(&cluster)), &old), 403);
    assert_eq!(put(None, &old), 200);
    assert_eq!(put(None, &old), 409);
}

#[test]
fn lists_come_in_pages() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    let pem = request(&cluster, "/O=system:nodes/CN=system:node:a", "");
    for name in ["a", "b", "c"] {
        cluster.post_csr(&stored_token(&cluster), name, SIGNER, &USAGES, &pem);
    }
    let mut api = cluster.api("cp-1");
    let mut page = |more: &str| {
        let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests?limit=2{more}");
        api.call("GET", &path, None, None).unwrap().1
    };
    let first = page("");
    assert_eq!((first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]), (2, &1.into()));
    let next = page(&format!("&continue={}", first["metadata"]["continue"].as_str().unwrap()));
    assert_eq!((&next["items"][0]["metadata"]["name"], &next["metadata"]["continue"]), (&"c".into(), &Value::Null));
    cluster.kubectl(&["get", "csr", "--chunk-size=1", "-o", "name"]).expect(0).says(&["/a", "/b", "/c"]);
}

#[test]
fn tokens_are_read_at_the_start_only() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    let old = stored_token(&cluster);
    let new = "0123456789abcdef0123456789abcdef";
    assert_eq!(bearer(&cluster, "cp-1", "/readyz", &old).0, "200");
    let (code, body) = bearer(&cluster, "cp-1", "/readyz", new);
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code.as_str(), &status["kind"], &status["reason"]), ("401", &"Status".into(), &"Unauthorized".into()));
    write_tokens(&cluster, "cp-1", &format!("{new},kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n"));
    assert_eq!(
        (bearer(&cluster, "cp-1", "/readyz", &old).0, bearer(&cluster, "cp-1", "/readyz", new).0),
        ("200".into(), "401".into())
    );
    restart(&cluster, "cp-1");
    assert_eq!(
        (bearer(&cluster, "cp-1", "/readyz", &old).0, bearer(&cluster, "cp-1", "/readyz", new).0),
        ("401".into(), "200".into())
    );
}

#[test]
fn a_token_file_is_read_as_go_reads_it() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    let user_of = |token: &str| {
        let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        cluster.plain_api("cp-1").call("POST", path, Some(token), Some(&review)).unwrap().1["status"]["userInfo"]
            .clone()
    };
    let rows = "twice,first,1\n\r\n#,comment,2,\"x, y\"\n,empty,3\nloose,g,4,one,two\ntwice,\"la\"\"st\",5\r\n";
    write_tokens(&cluster, "cp-1", rows);
    restart(&cluster, "cp-1");
    assert_eq!(user_of("twice")["username"], "la\"st");
    assert_eq!(user_of("#")["groups"], json!(["x", " y", "system:authenticated"]));
    assert_eq!(user_of("loose")["groups"], json!(["one", "system:authenticated"]));
    for broken in ["a,b\n", "a,b\"c,d\n", "a,\"b\"c,d\n", "a,\"b,c,d\n"] {
        write_tokens(&cluster, "cp-1", broken);
        cluster.host("cp-1").must("systemctl restart kube-apiserver");
        eventually("its end", || {
            let state = cluster.host("cp-1").run("systemctl is-active kube-apiserver").stdout;
            (String::from_utf8(state).unwrap().trim() == "failed").then_some(())
        });
    }
}

#[test]
fn nobody_is_somebody_only_by_name() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    for path in ["/readyz", "/livez", "/healthz", "/version"] {
        assert_eq!(curl(&cluster, "cp-1", path, &[]).0, "200", "{path}");
    }
    let review = ["-X", "POST", "-d", "{}"];
    let (code, body) = curl(&cluster, "cp-1", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &review);
    assert!(code == "403" && body.contains("system:anonymous"), "{code} {body}");
    assert_eq!(curl(&cluster, "cp-1", "/apis", &[]).0, "403");
    // Certificates: of the CA and over; of another CA; for servers.
    let made = "
        openssl ecparam -name prime256v1 -genkey -noout -out key.pem
        openssl req -new -key key.pem -subj /O=system:masters/CN=me -out me.csr
        printf 'extendedKeyUsage=clientAuth' >client.ext; printf 'extendedKeyUsage=serverAuth' >server.ext
        sign() { name=$1; shift; openssl x509 -req -in me.csr -out $name.pem \"$@\" 2>/dev/null; cat key.pem >>$name.pem; }
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kubernetes -keyout other-key.pem -out other.pem 2>/dev/null
        sign good -CA state/ca.pem -CAkey state/ca-key.pem -extfile client.ext -days 1
        sign over -CA state/ca.pem -CAkey state/ca-key.pem -extfile client.ext -days -1
        sign foreign -CA other.pem -CAkey other-key.pem -extfile client.ext -days 1
        sign server -CA state/ca.pem -CAkey state/ca-key.pem -extfile server.ext -days 1";
    openssl(made, cluster.env().dir());
    for (name, code) in [("good", "200"), ("over", "401"), ("foreign", "401"), ("server", "401")] {
        let got = curl(&cluster, "cp-1", "/api/v1/nodes", &["--cert", &path(&cluster, &format!("{name}.pem"))]);
        assert_eq!(got.0, code, "{name}: {}", got.1);
    }
}

#[test]
fn a_bootstrap_token_is_a_secret_that_can_expire() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(2).start();
    let create = |id: &str, more: &[&str]| -> Ran {
        let (name, id) = (format!("bootstrap-token-{id}"), format!("--from-literal=token-id={id}"));
        let fixed =
            ["-n", "kube-system", "create", "secret", "generic", &name, "--type=bootstrap.kubernetes.io/token", &id];
        cluster.kubectl(&[&fixed[..], &["--from-literal=token-secret=0123456789abcdef"], more].concat())
    };
    let usage = "--from-literal=usage-bootstrap-authentication=true";
    create(
        "aaaaaa",
        &[
            usage,
            "--from-literal=expiration=2099-01-01T00:00:00Z",
            "--from-literal=auth-extra-groups=system:bootstrappers:x",
        ],
    )
    .expect(0);
    create("bbbbbb", &[usage, "--from-literal=expiration=2020-01-01T00:00:00Z"]).expect(0);
    create("cccccc", &[]).expect(0);
    create("aaaaaa", &[usage]).expect(1).says(&["already exists"]);
    for host in cluster.control_planes() {
        let answers =
            ["aaaaaa", "bbbbbb", "cccccc"].map(|id| cluster.status_of_token(host, &format!("{id}.0123456789abcdef")));
        assert_eq!(answers, [201, 401, 401], "{host}");
        assert_eq!(cluster.status_of_token(host, "aaaaaa.0123456789abcdeX"), 401);
    }
    let (_, who) = cluster.plain_api("cp-2").whoami(Some("aaaaaa.0123456789abcdef")).unwrap();
    assert_eq!(who, "system:bootstrap:aaaaaa");
    cluster.kubectl(&["-n", "kube-system", "delete", "secret", "bootstrap-token-aaaaaa", "--wait=false"]).expect(0);
    assert_eq!(cluster.status_of_token("cp-2", "aaaaaa.0123456789abcdef"), 401);
}

#[test]
fn rights_are_those_of_the_built_in_roles() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    for (name, file) in [("bootstrap", "bootstrap.kubeconfig"), ("kube-proxy", "kube-proxy.kubeconfig")] {
        cluster.env().write(name, cluster.host("node-1").read(&format!("/etc/kubernetes/{file}")));
    }
    let may = |who: &str, what: &[&str]| {
        cluster.kubectl_as(who, &[&["auth", "can-i"], what].concat()).stdout.lines().last().unwrap_or_default() == "yes"
    };
    let csr = "certificatesigningrequests.certificates.k8s.io";
    assert!(may("bootstrap", &["create", csr]) && may("bootstrap", &["get", csr]));
    assert!(!may("bootstrap", &["update", csr, "--subresource=approval"]) && !may("bootstrap", &["list", "nodes"]));
    assert!(
        may("kube-proxy", &["list", "services", "-A"])
            && may("kube-proxy", &["watch", "endpointslices.discovery.k8s.io"])
    );
    assert!(!may("kube-proxy", &["list", "secrets"]) && !may("kube-proxy", &["create", csr]));
    assert!(may("admin.kubeconfig", &["update", csr, "--subresource=approval"]));
    cluster.kubectl_as("kube-proxy", &["get", "services", "-A", "-o", "name"]).expect(0);
    let denied = cluster.kubectl_as("bootstrap", &["get", "nodes"]).expect(1);
    denied.says(&["nodes is forbidden: User \"kubelet-bootstrap\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"]);
}

#[test]
fn faults_begin_and_end_when_they_are_told() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(2).start();
    let token = stored_token(&cluster);
    let code = |host: &str, path: &str| bearer(&cluster, host, path, &token).0;
    let csrs = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    cluster.set_fault("cp-1", Fault::NotReady);
    assert_eq!((code("cp-1", "/readyz").as_str(), code("cp-1", csrs).as_str()), ("500", "200"));
    assert_eq!((code("cp-1", "/livez").as_str(), code("cp-2", "/readyz").as_str()), ("200", "200"));
    cluster.set_fault("cp-1", Fault::Failing);
    assert_eq!((code("cp-1", "/readyz").as_str(), code("cp-1", csrs).as_str()), ("200", "500"));
    cluster.set_fault("cp-1", Fault::Busy(2));
    assert_eq!([0; 3].map(|_| code("cp-1", csrs)), ["429", "429", "200"]);
    cluster.set_fault("cp-1", Fault::Slow(Duration::from_millis(300)));
    let began = Instant::now();
    assert_eq!(code("cp-1", csrs), "200");
    assert!(began.elapsed() >= Duration::from_millis(300));
    cluster.set_fault("cp-1", Fault::Hang);
    assert_eq!(curl(&cluster, "cp-1", "/readyz", &["--max-time", "0.3"]).0, "000");
    cluster.mend("cp-1");
    assert_eq!(code("cp-1", "/readyz"), "200");
    // Those of the start.
    cluster.set_fault_after_start("cp-1", Fault::NotReady);
    assert_eq!(code("cp-1", "/readyz"), "200");
    cluster.host("cp-1").must("systemctl restart kube-apiserver");
    eventually("it to be up and not ready", || (code("cp-1", "/readyz") == "500").then_some(()));
    assert_eq!(cluster.downtimes("cp-1")[0].to, None);
    cluster.mend("cp-1");
    eventually("it to be ready", || cluster.downtimes("cp-1")[0].to);
    cluster.set_fault("cp-1", Fault::KeepsOldTokens);
    write_tokens(&cluster, "cp-1", "new,u,1\n");
    restart(&cluster, "cp-1");
    assert_eq!([&token, "new"].map(|token| cluster.status_of_token("cp-1", token)), [201, 401]);
    cluster.mend("cp-1");
    restart(&cluster, "cp-1");
    assert_eq!([&token, "new"].map(|token| cluster.status_of_token("cp-1", token)), [401, 201]);
    cluster.set_fault("cp-1", Fault::StartsSlowly(Duration::from_millis(700)));
    restart(&cluster, "cp-1");
    let last = cluster.downtimes("cp-1").pop().unwrap();
    assert!(last.to.unwrap() - last.from >= 700, "{last:?}");
    cluster.set_fault("cp-1", Fault::RefusesToStart);
    cluster.host("cp-1").must("systemctl restart kube-apiserver");
    eventually("its end", || cluster.service_log("cp-1", "kube-apiserver").contains("told not to start").then_some(()));
    assert_eq!(curl(&cluster, "cp-1", "/readyz", &["--max-time", "1"]).0, "000");
}

#[test]
fn what_it_does_not_know_it_refuses_and_writes_down() {
    need_root!();
    let cluster = ControlPlane::builder().start();
    cluster.forgive_unknown();
    assert_eq!(cluster.unknown_requests(), [""; 0]);
    let mut api = cluster.api("cp-1");
    for (method, path, code) in
        [("GET", "/api/v1/pods", 404), ("DELETE", "/api/v1/nodes", 405), ("GET", "/metrics", 404)]
    {
        let (status, body) = api.call(method, path, None, None).unwrap();
        assert_eq!((status, &body["kind"]), (code, &"Status".into()), "{path}");
    }
    assert_eq!(cluster.unknown_requests(), ["GET /api/v1/pods", "DELETE /api/v1/nodes", "GET /metrics"]);
}
