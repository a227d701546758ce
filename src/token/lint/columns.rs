//! Findings about how many columns a row has and where its groups stand. Only column 4 holds groups.

use super::{Finding, Severity};
use crate::token::record::Record;

pub(super) fn too_few(record: &Record<'_>) -> Finding {
    let found = record.fields.len();
    let first = record.fields.first().map_or("", String::as_str);
    let (code, hint) = if first.trim_start().starts_with('#') {
        ("comment-line", "token.csv has no comments: remove the line")
    } else if first.trim().is_empty() && found == 1 {
        ("too-few-columns", "remove the line: white space makes it a record, only an empty line is skipped")
    } else if found == 1 && is_hex_dump(first) {
        ("broken-token", "a token broken over two lines, as `od` prints long ones: join them with `tr -d ' \\n'`")
    } else if found == 1 && first.contains([';', '\t']) {
        ("too-few-columns", "columns are separated by commas")
    } else {
        ("too-few-columns", "a row is token,user,uid[,\"group1,group2\"]")
    };
    let message =
        format!("a row needs at least 3 columns (token, user, uid), found {found}: kube-apiserver does not start");
    Finding::new(record.line, Severity::Fatal, code, message, hint)
}

fn is_hex_dump(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    digits >= 8 && text.chars().all(|c| c.is_ascii_hexdigit() || c == ' ')
}

pub(super) fn lint_columns(record: &Record<'_>) -> Vec<Finding> {
    let fields = &record.fields;
    let mut findings = Vec::new();
    if fields[0].starts_with('#') {
        findings.push(Finding::new(
            record.line,
            Severity::Misleading,
            "comment-line",
            "token.csv has no comments: this row is live, and the # is part of its token",
            "remove the line",
        ));
    }
    if let Some(finding) = extra(record) {
        findings.push(finding);
    }
    if let Some(groups) = fields.get(3) {
        let numbered = groups.split(',').zip(1..);
        findings.extend(numbered.filter_map(|(group, number)| lint_group(record.line, number, group)));
    }
    findings
}

/// Groups in columns 5 and up are silently dropped.
fn extra(record: &Record<'_>) -> Option<Finding> {
    let fields = &record.fields;
    if fields.len() <= 4 {
        return None;
    }
    let (code, hint) = if fields[3].contains(',') || fields[4..].iter().all(String::is_empty) {
        ("extra-columns", "remove what follows the groups")
    } else {
        ("unquoted-groups", "put all groups into one pair of double quotes: \"group1,group2\"")
    };
    let message = format!("only column 4 holds groups: {} column(s) after it are ignored", fields.len() - 4);
    Some(Finding::new(record.line, Severity::Misleading, code, message, hint))
}

fn lint_group(line: usize, number: usize, group: &str) -> Option<Finding> {
    let misleading = |code, message: String, hint| Some(Finding::new(line, Severity::Misleading, code, message, hint));
    if group.is_empty() {
        let message = format!("group {number} is an empty name");
        return misleading("empty-group", message, "remove the spare comma, or the empty column");
    }
    if group.contains(char::is_whitespace) {
        let message = format!("group {number} holds white space, which is part of its name: no binding will match");
        return misleading("space-in-group", message, "write \"group1,group2\" without spaces");
    }
    if group.contains(['"', '\'', ';', '“', '”', '‘', '’', '„']) {
        let message = format!("group {number} holds a quote or semicolon, which is part of its name");
        return misleading("odd-group", message, "use plain double quotes around all groups, and commas between them");
    }
    if group == "system:masters" {
        let message = "group system:masters passes every authorisation check, and no RBAC rule can take that away";
        let hint = "give a bootstrap token system:bootstrappers or system:kubelet-bootstrap instead";
        return misleading("system-masters", message.to_owned(), hint);
    }
    None
}
