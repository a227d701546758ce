//! Findings about the bytes of the file, before any row is read.

use super::{Finding, Severity};
use crate::token::csv::not_utf8;

pub(super) fn lint_bytes(text: &[u8]) -> Vec<Finding> {
    let checks = [byte_order_mark, encoding, nul, crlf, lone_carriage_return, final_newline];
    checks.iter().filter_map(|check| check(text)).collect()
}

fn line_at(text: &[u8], offset: usize) -> usize {
    text[..offset].iter().filter(|b| **b == b'\n').count() + 1
}

fn byte_order_mark(text: &[u8]) -> Option<Finding> {
    let utf16 = text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]);
    let message = if utf16 {
        "the file is UTF-16: kube-apiserver reads it as bytes, so no token in it can match"
    } else if text.starts_with("\u{feff}".as_bytes()) {
        "a byte order mark stands before the first token and becomes part of it: the token is refused"
    } else {
        return None;
    };
    let hint = "save the file as UTF-8 without a byte order mark";
    Some(Finding::new(1, Severity::Misleading, "byte-order-mark", message, hint).at_column(1))
}

fn encoding(text: &[u8]) -> Option<Finding> {
    let place = not_utf8(text, std::str::from_utf8(text).err()?.valid_up_to());
    let message = "not valid UTF-8: kube-apiserver takes the bytes as they are, and names or tokens will not match";
    Some(
        Finding::new(place.line, Severity::Misleading, "not-utf8", message, "save the file as UTF-8")
            .at_column(place.column),
    )
}

fn nul(text: &[u8]) -> Option<Finding> {
    let at = text.iter().position(|b| *b == 0)?;
    let message = "a NUL byte: no request header can carry it, so the value never matches";
    Some(Finding::new(line_at(text, at), Severity::Misleading, "nul-byte", message, "remove the NUL bytes"))
}

fn crlf(text: &[u8]) -> Option<Finding> {
    let at = text.windows(2).position(|pair| pair == b"\r\n")?;
    let message =
        "lines end in CRLF: kube-apiserver folds them, but shell tools see a carriage return in the last column";
    Some(Finding::new(line_at(text, at), Severity::Advice, "crlf", message, "convert with `dos2unix` or `tr -d '\\r'`"))
}

fn lone_carriage_return(text: &[u8]) -> Option<Finding> {
    let at = (0..text.len()).find(|at| text[*at] == b'\r' && text.get(at + 1).is_some_and(|next| *next != b'\n'))?;
    let message = "a carriage return alone does not end a line: it becomes part of a value, or joins two rows into one";
    let hint = "end lines with a newline";
    Some(Finding::new(line_at(text, at), Severity::Misleading, "carriage-return", message, hint))
}

fn final_newline(text: &[u8]) -> Option<Finding> {
    let last = text.last().filter(|last| **last != b'\n')?;
    let line = line_at(text, text.len() - usize::from(*last == b'\n'));
    let message = "no newline at the end: a row appended with `>>` would be glued to this one";
    Some(Finding::new(line, Severity::Advice, "no-final-newline", message, "end the last line with a newline"))
}
