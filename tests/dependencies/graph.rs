//! The dependency graph as it is compiled. `cargo metadata` also lists optional packages that only a weak feature
//! (`ring?/alloc`) mentions and nothing compiles; those edges are left out here, as cargo itself leaves them out.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    pub licence: Option<String>,
    /// `None` for this project itself.
    pub source: Option<String>,
}

impl Package {
    pub fn version_triple(&self) -> (u64, u64, u64) {
        let mut numbers = self.version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next())
    }
}

/// A line of our own Cargo.toml.
#[derive(Debug)]
pub struct Direct {
    pub package: String,
    pub used_as: String,
    pub requirement: String,
}

/// What counts as reached: what ships and what builds it, or also what only tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Program,
    Tests,
}

struct Edge {
    to: String,
    /// Only this project's own edges can be for tests.
    for_tests_only: bool,
}

pub struct Graph {
    root: String,
    packages: BTreeMap<String, Package>,
    edges: BTreeMap<String, Vec<Edge>>,
    direct: Vec<Direct>,
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

impl Graph {
    pub fn from_metadata(metadata: &Value) -> Self {
        let manifests: BTreeMap<String, &Value> = list(metadata, "packages").map(|p| (text(p, "id"), p)).collect();
        let packages = manifests.iter().map(|(id, manifest)| (id.clone(), read_package(id, manifest))).collect();
        let mut edges = BTreeMap::new();
        for node in list(&metadata["resolve"], "nodes") {
            let from = text(node, "id");
            edges.insert(from.clone(), read_edges(node, manifests[&from], &manifests));
        }
        let root = text(&metadata["resolve"], "root");
        let direct = list(manifests[&root], "dependencies").map(read_direct).collect();
        Self { root, packages, edges, direct }
    }

    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    pub fn direct(&self) -> &[Direct] {
        &self.direct
    }

    pub fn reached(&self, reach: Reach) -> impl Iterator<Item = &Package> {
        let mut seen = BTreeSet::from([self.root.as_str()]);
        let mut open = vec![self.root.as_str()];
        while let Some(id) = open.pop() {
            for edge in self.edges.get(id).into_iter().flatten() {
                if (reach == Reach::Tests || !edge.for_tests_only) && seen.insert(&edge.to) {
                    open.push(&edge.to);
                }
            }
        }
        seen.into_iter().map(|id| &self.packages[id])
    }

    /// The names of the reached packages that depend on `id`.
    pub fn parents(&self, id: &str) -> Vec<&str> {
        let uses = |package: &&Package| {
            self.edges.get(&package.id).is_some_and(|edges| edges.iter().any(|edge| edge.to == id))
        };
        self.reached(Reach::Tests).filter(uses).map(|package| package.name.as_str()).collect()
    }
}

fn read_package(id: &str, manifest: &Value) -> Package {
    Package {
        id: id.to_owned(),
        name: text(manifest, "name"),
        version: text(manifest, "version"),
        licence: manifest["license"].as_str().map(str::to_owned),
        source: manifest["source"].as_str().map(str::to_owned),
    }
}

fn read_direct(line: &Value) -> Direct {
    let package = text(line, "name");
    let used_as = line["rename"].as_str().map_or_else(|| package.clone(), str::to_owned);
    Direct { package, used_as, requirement: text(line, "req") }
}

fn read_edges(node: &Value, manifest: &Value, manifests: &BTreeMap<String, &Value>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for dep in list(node, "deps") {
        let to = text(dep, "pkg");
        let kinds: Vec<Option<&str>> = list(dep, "dep_kinds").map(|kind| kind["kind"].as_str()).collect();
        if is_compiled(node, manifest, &text(manifests[&to], "name")) {
            edges.push(Edge { to, for_tests_only: kinds.iter().all(|kind| *kind == Some("dev")) });
        }
    }
    edges
}

/// False for an optional dependency that no active feature turns on.
fn is_compiled(node: &Value, manifest: &Value, package: &str) -> bool {
    let lines: Vec<&Value> = list(manifest, "dependencies").filter(|line| text(line, "name") == package).collect();
    if lines.is_empty() || lines.iter().any(|line| line["optional"] != Value::Bool(true)) {
        return true;
    }
    let names: Vec<String> = lines.iter().map(|line| read_direct(line).used_as).collect();
    let active: Vec<&str> = list(node, "features").filter_map(Value::as_str).collect();
    let turned_on_by =
        |entry: &str| names.iter().any(|name| entry == format!("dep:{name}") || entry.starts_with(&format!("{name}/")));
    active.iter().any(|feature| {
        let mut entries = list(&manifest["features"], feature).filter_map(Value::as_str);
        names.iter().any(|name| name == feature) || entries.any(turned_on_by)
    })
}

#[cfg(test)]
fn metadata(features_of_a: &Value, active: &Value) -> Value {
    let optional = serde_json::json!({ "name": "ring", "optional": true, "req": "^0.17" });
    let edge = |to: &str, kind: Value| serde_json::json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] });
    serde_json::json!({
        "packages": [
            { "id": "root", "name": "kubemint", "dependencies": [{ "name": "a" }, { "name": "judge" }] },
            { "id": "a", "name": "a", "dependencies": [optional], "features": features_of_a },
            { "id": "ring", "name": "ring", "version": "0.17.14" },
            { "id": "judge", "name": "judge" },
        ],
        "resolve": { "root": "root", "nodes": [
            { "id": "root", "deps": [edge("a", Value::Null), edge("judge", "dev".into())] },
            { "id": "a", "features": active, "deps": [edge("ring", Value::Null)] },
        ]},
    })
}

#[test]
fn a_weak_feature_reaches_nothing_and_a_strong_one_does() {
    let features =
        serde_json::json!({ "alloc": ["ring?/alloc"], "fast": ["dep:ring"], "std": ["ring/std"], "ring": [] });
    for (active, expected) in [("alloc", false), ("fast", true), ("std", true), ("ring", true)] {
        let graph = Graph::from_metadata(&metadata(&features, &serde_json::json!([active])));
        assert_eq!(graph.reached(Reach::Program).any(|package| package.name == "ring"), expected, "{active}");
    }
}

#[test]
fn what_only_tests_use_is_not_in_the_program() {
    let graph = Graph::from_metadata(&metadata(&Value::Null, &Value::Null));
    let names = |reach| graph.reached(reach).map(|package| package.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(Reach::Program), ["a", "kubemint"]);
    assert_eq!(names(Reach::Tests), ["a", "judge", "kubemint"]);
    assert_eq!(graph.parents("judge"), ["kubemint"]);
}
