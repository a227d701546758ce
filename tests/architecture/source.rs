//! A source file as tokens and paths. Comments, strings and formatting are gone, lines are kept, and it is known which
//! tokens stand in code that is compiled for tests only.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::str::FromStr;

pub struct SourceFile {
    /// Relative to the project: `src/pki/issue.rs`.
    pub path: String,
    /// The module the file is: `["pki", "issue"]`; empty for lib.rs and main.rs.
    pub module: Vec<String>,
    pub lines: Vec<String>,
    pub tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub text: String,
    pub line: usize,
    /// How many inline modules stand around it.
    pub depth: usize,
    pub test_only: bool,
}

/// A path with `use` groups written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUse {
    pub parts: Vec<String>,
    pub line: usize,
    pub depth: usize,
    pub test_only: bool,
}

impl PathUse {
    pub fn text(&self) -> String {
        self.parts.join("::")
    }
}

impl SourceFile {
    pub fn parse(path: &str, text: &str) -> Self {
        let stream = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let module = module_of(path);
        let mut tokens = Vec::new();
        flatten(stream, 0, module.last().is_some_and(|name| name == "tests"), &mut tokens);
        Self { path: path.to_owned(), module, lines: text.lines().map(str::to_owned).collect(), tokens }
    }

    /// Every path of two or more parts.
    pub fn paths(&self) -> Vec<PathUse> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if starts_path(&self.tokens, at) {
                at = expand(&self.tokens, at, &[], &mut found).max(at + 1);
            } else {
                at += 1;
            }
        }
        found.retain(|path| path.parts.len() > 1);
        found
    }

    /// The paths that start at the crate's root, without the leading `crate` or `super`s; empty for the root itself.
    pub fn crate_paths(&self) -> Vec<PathUse> {
        self.paths().into_iter().filter_map(|path| self.rooted(path)).collect()
    }

    fn rooted(&self, mut path: PathUse) -> Option<PathUse> {
        if path.parts[0] == "self" {
            path.parts.remove(0);
        }
        let supers = path.parts.iter().take_while(|part| *part == "super").count();
        let skip = match path.parts[0].as_str() {
            "crate" => 1,
            "kubemint" if self.path == "src/main.rs" => 1,
            "super" if supers == self.module.len() + path.depth => supers,
            _ => return None,
        };
        path.parts.drain(..skip);
        Some(path)
    }
}

fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

fn flatten(stream: TokenStream, depth: usize, test_only: bool, out: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut test_item = false;
    for (at, tree) in trees.iter().enumerate() {
        let line = tree.span().start().line;
        test_item |= opens_test_item(&trees, at);
        let test_only = test_only || test_item;
        let mut push = |text: String, line| out.push(Token { text, line, depth, test_only });
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), line);
                flatten(group.stream(), depth + usize::from(is_module_body(&trees, at)), test_only, out);
                out.push(Token { text: close.to_owned(), line: group.span_close().start().line, depth, test_only });
                test_item &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Punct(punct) => {
                push(punct.as_char().to_string(), line);
                test_item &= punct.as_char() != ';';
            }
            TokenTree::Ident(ident) => push(ident.to_string().trim_start_matches("r#").to_owned(), line),
            // Strings and numbers mean nothing here, but two paths must not grow together across one.
            TokenTree::Literal(_) => push("0".to_owned(), line),
        }
    }
}

/// `#[cfg(test)]`: the item that follows is not in the program.
fn opens_test_item(trees: &[TokenTree], at: usize) -> bool {
    let TokenTree::Group(group) = &trees[at] else { return false };
    let hash = at > 0 && matches!(&trees[at - 1], TokenTree::Punct(punct) if punct.as_char() == '#');
    let text = group.stream().to_string().replace(char::is_whitespace, "");
    hash && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

fn is_module_body(trees: &[TokenTree], at: usize) -> bool {
    at >= 2
        && matches!(&trees[at - 2], TokenTree::Ident(ident) if ident == "mod")
        && matches!(&trees[at], TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
}

fn separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| token.text == ":") && tokens.get(at + 1).is_some_and(|token| token.text == ":")
}

fn starts_path(tokens: &[Token], at: usize) -> bool {
    let joined = at >= 2 && separator(tokens, at - 2) && goes_on(tokens, at);
    is_name(&tokens[at].text) && !is_keyword(&tokens[at].text) && separator(tokens, at + 1) && !joined
}

/// Keywords that may stand before a path with a leading `::`.
fn is_keyword(text: &str) -> bool {
    matches!(text, "use" | "as" | "dyn" | "else" | "impl" | "in" | "match" | "mut" | "return")
}

/// Whether the `::` before `at` joins it to something; a leading `::` starts a path.
fn goes_on(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(3).map(|before| tokens[before].text.as_str()) else { return false };
    before == ">" || is_name(before) && !is_keyword(before)
}

/// Follows the path at `at`, puts every way through it into `out`, and returns where it ends.
fn expand(tokens: &[Token], at: usize, prefix: &[String], out: &mut Vec<PathUse>) -> usize {
    let mut parts = prefix.to_vec();
    let mut at = at;
    let start = &tokens[at.min(tokens.len() - 1)];
    let (mut line, depth, test_only) = (start.line, start.depth, start.test_only);
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while at < tokens.len() && tokens[at].text != "}" {
                at = if tokens[at].text == "as" {
                    at + 2
                } else if is_name(&tokens[at].text) || matches!(tokens[at].text.as_str(), "*" | "{") {
                    expand(tokens, at, &parts, out)
                } else {
                    at + 1
                };
            }
            return at + 1;
        }
        if !is_name(&token.text) && token.text != "*" {
            break;
        }
        parts.push(token.text.clone());
        line = token.line;
        at += 1;
        if !separator(tokens, at) {
            break;
        }
        at += 2;
    }
    out.push(PathUse { parts, line, depth, test_only });
    at
}

#[test]
fn groups_are_written_out_and_supers_resolved() {
    let text = "use crate::{a, b::{self, C as D},\n  e::*};\nmod inner { use super::super::f::G; use super::h; }\nfn x() { crate::i::j::<u8>() }\nuse ::std::fs;";
    let source = SourceFile::parse("src/room.rs", text);
    let found: Vec<(String, usize)> = source.crate_paths().iter().map(|path| (path.text(), path.line)).collect();
    let expected = [("a", 1), ("b::self", 1), ("b::C", 1), ("e::*", 2), ("f::G", 3), ("i::j", 4)];
    assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    assert!(source.paths().iter().any(|path| path.text() == "std::fs"));
}

#[test]
fn test_code_is_told_from_the_program() {
    let text = "fn a() {}\n#[cfg(test)]\nuse x::y;\nfn b() {}\n#[cfg(test)]\nmod t { fn c() {} }\n#[cfg(not(test))]\nfn d() {}";
    let source = SourceFile::parse("src/room.rs", text);
    let shipped: Vec<&str> =
        source.tokens.iter().filter(|token| !token.test_only).map(|token| token.text.as_str()).collect();
    for (name, expected) in [("a", true), ("b", true), ("c", false), ("y", false), ("d", true)] {
        assert_eq!(shipped.contains(&name), expected, "{name}");
    }
}
