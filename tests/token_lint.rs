//! `lint_token_file` against every trap of a static token file: code, line, severity; and that it never shows a token.

#![allow(clippy::unwrap_used)] // Outside #[test] functions, too: a test helper may fail its test.

use kubemint::token::{Finding, Severity, lint_token_file};

/// Line, severity, code.
type Expected = (usize, Severity, &'static str);

const T1: &str = "d3a0a1f15e4a4ed08d2a7f6a1b9c0e57";
const T2: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// `T1` and `T2` stand for good tokens.
fn lint(text: &str) -> Vec<Finding> {
    lint_token_file(text.replace("T1", T1).replace("T2", T2).as_bytes())
}

#[test]
fn a_good_file_has_no_findings() {
    for good in [
        "T1,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n",
        "T1,kubelet-bootstrap,10001,system:bootstrappers\n",
        "T1,u,1\n\nT2,u,1,\"a,b\"\n",
        "\"T1\",\"u\",\"1\",\"a\"\nT2,v,2\n",
        // Names that are long, numbered, UUIDs or of two parts are still names.
        "T1,f47ac10b-58cc-4372-a567-0e02b2c3d479,f47ac10b-58cc-4372-a567-0e02b2c3d479\n",
        "T1,system:serviceaccount:kube-system:node-controller-v1,1\n",
        "T1,AdminUserForKubernetesProd1,1\nT2,averyveryverylongusername2022,2\n",
        "T1,martin.oberschwarzenegg,1\nT2,a1b2c3@example.net,2\n",
    ] {
        assert_eq!(lint(good), [], "{good}");
    }
}

#[test]
fn every_trap_is_found_on_its_line() {
    use Severity::{Advice, Fatal, Misleading};
    #[rustfmt::skip]
    let traps: &[(&str, &[Expected])] = &[
        ("T1,u\n", &[(1, Fatal, "too-few-columns")]),
        ("T1,u,1\n  \n", &[(2, Fatal, "too-few-columns")]),
        ("T1;u;1\n", &[(1, Fatal, "too-few-columns")]),
        ("# my tokens\nT1,u,1\n", &[(1, Fatal, "comment-line")]),
        ("d3a0a1f15e4a4ed0\n8d2a7f6a1b9c0e57,u,1\n", &[(1, Fatal, "broken-token"), (2, Misleading, "weak-token")]),
        ("T1,u,1,\"a\nT2,v,2\n", &[(2, Fatal, "broken-quote")]),
        ("T1,u,1,\"a\"b\nT2,v\n", &[(1, Fatal, "broken-quote"), (2, Fatal, "too-few-columns")]),
        ("T1,u,1, \"a,b\"\n", &[(1, Fatal, "bare-quote")]),
        ("T1,u,1,a\"b\"\n", &[(1, Fatal, "bare-quote")]),
        ("#T1,u,1\nT2,u,1\n", &[(1, Misleading, "comment-line")]),
        ("\u{feff}T1,u,1\n", &[(1, Misleading, "byte-order-mark")]),
        ("T1,u,1\r\nT2,u,1\r\n", &[(1, Advice, "crlf")]),
        ("T1,u,1\rT2,u,1\n", &[(1, Misleading, "carriage-return"), (1, Misleading, "space-in-name"), (1, Misleading, "unquoted-groups")]),
        ("kubelet-bootstrap,T1,10001\n", &[(1, Misleading, "swapped-columns")]),
        ("kubelet-bootstrap,10001,T1\n", &[(1, Misleading, "swapped-columns")]),
        ("T1,T2,1\n", &[(1, Misleading, "swapped-columns")]),
        ("x,f47ac10b-58cc-4372-a567-0e02b2c3d479,1\n", &[(1, Misleading, "swapped-columns")]),
        ("T1,k3jx9a.v1c7q0zt5w8mhy2e,1\n", &[(1, Misleading, "swapped-columns")]),
        ("T1,Zm9vYmFyYmF6cXV4Y29yZ2U=,1\n", &[(1, Misleading, "swapped-columns")]),
        ("T1,u,1", &[(1, Advice, "no-final-newline")]),
        ("T1,u,1\nT2,u,1", &[(2, Advice, "no-final-newline")]),
        ("T1,u,1,a,b\n", &[(1, Misleading, "unquoted-groups")]),
        ("T1,u,1,'a,b'\n", &[(1, Misleading, "unquoted-groups"), (1, Misleading, "odd-group")]),
        ("T1,u,1,“a”\n", &[(1, Misleading, "odd-group")]),
        ("T1,u,1,a;b\n", &[(1, Misleading, "odd-group")]),
        ("T1,u,1,\"a,b\",c\n", &[(1, Misleading, "extra-columns")]),
        ("T1,u,1,a,\n", &[(1, Misleading, "extra-columns")]),
        ("T1,u,1,\"a, b\"\n", &[(1, Misleading, "space-in-group")]),
        ("T1,u,1,a \n", &[(1, Misleading, "space-in-group")]),
        ("T1,u,1,\n", &[(1, Misleading, "empty-group")]),
        ("T1,u,1,\"a,,b\"\n", &[(1, Misleading, "empty-group")]),
        ("T1,u,1,\"a,system:masters\"\n", &[(1, Misleading, "system-masters")]),
        (",u,1,a\n", &[(1, Misleading, "empty-token"), (1, Misleading, "no-token")]),
        ("T1,u,1\n\"\",v,2\n", &[(2, Misleading, "empty-token")]),
        ("${BOOTSTRAP_TOKEN},u,1,\"a\"\n", &[(1, Misleading, "unexpanded-variable")]),
        ("$BOOTSTRAP_TOKEN,u,1\n", &[(1, Misleading, "unexpanded-variable")]),
        ("$(head -c 16 /dev/urandom),u,1\n", &[(1, Misleading, "unexpanded-variable")]),
        ("<token>,u,1\n", &[(1, Misleading, "unexpanded-variable")]),
        ("{{ token }},u,1\n", &[(1, Misleading, "unexpanded-variable")]),
        ("T1,$USER,1\n", &[(1, Misleading, "unexpanded-variable")]),
        ("02b50b05283e98dd0fd71db496ef01e8,u,1\n", &[(1, Misleading, "published-token")]),
        (" d3a0a1f1 5e4a4ed0 8d2a7f6a 1b9c0e57,u,1\n", &[(1, Misleading, "space-in-token")]),
        ("\"d3a0a1f15e4a4ed0\n8d2a7f6a1b9c0e57\",u,1\nT1,v\n", &[(1, Misleading, "space-in-token"), (3, Fatal, "too-few-columns")]),
        ("T1\u{200b},u,1\n", &[(1, Misleading, "odd-token")]),
        ("secret,u,1\n", &[(1, Misleading, "weak-token")]),
        ("00000000000000000000000000000000,u,1\n", &[(1, Misleading, "weak-token")]),
        ("T1,u,1\nT2,v,2\nT1,w,3\n", &[(3, Misleading, "duplicate-token")]),
        ("T1,,1\n", &[(1, Misleading, "empty-user")]),
        ("T1,u,\n", &[(1, Advice, "empty-uid")]),
        ("T1, u,1\n", &[(1, Misleading, "space-in-name")]),
        ("T1,u,1\nT2,u,2\n", &[(2, Misleading, "user-with-two-uids")]),
        ("T1,u,1\nT2,v,1\n", &[(2, Advice, "shared-uid")]),
        ("T1,u\0,1\n", &[(1, Misleading, "nul-byte"), (1, Misleading, "space-in-name")]),
        ("", &[(1, Misleading, "no-token")]),
        ("\n\n", &[(1, Misleading, "no-token")]),
    ];
    for (text, expected) in traps {
        let findings = lint(text);
        let mut found: Vec<_> = findings.iter().map(|f| (f.line, f.severity, f.code)).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text:?}");
        assert!(findings.iter().all(|f| !f.hint.is_empty() && !f.message.ends_with('.')), "{findings:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_found_with_their_place() {
    let findings = lint_token_file(&[T1.as_bytes(), b",u,1\nx\xff,v,2\n"].concat());
    let finding = findings.iter().find(|f| f.code == "not-utf8").unwrap();
    assert_eq!((finding.line, finding.column), (2, Some(2)));
}

#[test]
fn a_utf16_file_is_named_as_such() {
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(format!("{T1},u,1\n").encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let findings = lint_token_file(&utf16);
    assert!(findings.iter().any(|f| f.code == "byte-order-mark" && f.message.contains("UTF-16")), "{findings:?}");
}

#[test]
fn all_findings_come_at_once_in_line_order() {
    let findings = lint("T1,u,1,a,b\nT1,v,1\nx,y\n,z,3\nsecret,w,9");
    let lines: Vec<usize> = findings.iter().map(|f| f.line).collect();
    assert!(lines.is_sorted(), "{findings:?}");
    assert_eq!(lines, [1, 2, 2, 3, 4, 5, 5]);
}

#[test]
fn no_finding_shows_a_token_wherever_it_stands() {
    let secret = "canary7f6a1b9c0e57";
    for text in [
        "S,u,1\n",
        "S,u\n",
        "S\n",
        "# S,u,1\n",
        "S x,u,1\n",
        "\"S\nx\",u,1\n",
        "S,u,1,\"a\"b\n",
        "u,S,1\nS,S,2\n",
        "a,b,1\rS,c,2\n",
        "x,u,1,g,S\n",
        "x,u,1,S \n",
        "x,u,1,'S'\n",
        "${S},u,1\n",
        "x,$S,1\n",
        "x,u,S\nx,v,S\n",
        "\u{feff}S,u,1\nS,u,1\n",
        "S\0,u,1\n",
        "S\u{200b},S u,S 1\n",
    ] {
        let findings = lint_token_file(text.replace('S', secret).as_bytes());
        assert!(!findings.is_empty(), "{text:?}");
        let shown = format!("{findings:?} {}", serde_json::to_string(&findings).unwrap());
        assert!(!shown.contains("canary"), "{text:?}: {shown}");
    }
}

#[test]
fn severities_order_from_advice_to_fatal() {
    assert!(Severity::Advice < Severity::Misleading && Severity::Misleading < Severity::Fatal);
}
