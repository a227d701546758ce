//! PEM files as people have them (RFC 7468): text around the blocks, CRLF, several blocks, headers, or not PEM at all.
//! Every block of a file is read, never only the first; a file is at most 1 MiB. Errors repeat nothing of the content,
//! since it may be a private key. What is inside a block is not known here.

use zeroize::Zeroizing;

/// The most bytes a certificate or key file may have: 1 MiB.
pub const LARGEST_INPUT: usize = 1 << 20;

const BEGIN: &[u8] = b"-----BEGIN ";

/// Input that holds no readable PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextualError {
    #[error("{bytes} bytes; a certificate or key file has at most {LARGEST_INPUT}")]
    TooLarge { bytes: usize },
    #[error("the file is empty")]
    Empty,
    #[error("DER, not PEM")]
    Der,
    #[error("JSON, not PEM")]
    Json,
    #[error("no PEM block (a line `-----BEGIN …-----`)")]
    NoBlock,
    #[error("damaged PEM: {reason}")]
    Damaged { reason: &'static str },
}

impl TextualError {
    /// What may be done about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Der => {
                Some("convert it: openssl x509 -inform DER -in FILE (a key: openssl pkey -inform DER -in FILE)")
            }
            Self::Json => Some("this looks like cfssl's own output: pipe it through `cfssljson -bare`"),
            Self::TooLarge { .. } | Self::NoBlock => Some("check that the path names the file you mean"),
            Self::Empty | Self::Damaged { .. } => Some("take a fresh copy of the file"),
        }
    }
}

/// One PEM block.
pub(super) struct Block {
    /// Between `BEGIN` and the dashes: `CERTIFICATE`, `RSA PRIVATE KEY`.
    pub label: String,
    pub content: Zeroizing<Vec<u8>>,
    /// Has OpenSSL's `Proc-Type: 4,ENCRYPTED` header (RFC 1421).
    pub encrypted: bool,
}

/// Every block of `input`, in order; at least one.
pub(super) fn parse_blocks(input: &[u8]) -> Result<Vec<Block>, TextualError> {
    if input.len() > LARGEST_INPUT {
        return Err(TextualError::TooLarge { bytes: input.len() });
    }
    let begins = count(input, BEGIN);
    if begins == 0 {
        return Err(describe_foreign(input));
    }
    if starts_with_json(input) {
        return Err(TextualError::Json);
    }
    let parsed = pem::parse_many(input).map_err(|e| TextualError::Damaged { reason: reason(&e) })?;
    if parsed.len() != begins {
        return Err(TextualError::Damaged { reason: "a BEGIN line without its END line" });
    }
    Ok(parsed.into_iter().map(into_block).collect())
}

/// What a file holds instead of what was looked for: distinct labels, safe to print, the first three of them.
pub(super) fn labels(blocks: &[Block]) -> Vec<String> {
    let mut labels = Vec::new();
    for block in blocks {
        let label = crate::secret::scrub(&block.label);
        if labels.len() < 3 && !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

/// `der` as one PEM block: LF line ends, 64 columns, a newline at the end.
pub(super) fn render_block(label: &str, der: &[u8]) -> String {
    let block = pem::Pem::new(label, der);
    let text = pem::encode_config(&block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF));
    drop(Zeroizing::new(block.into_contents()));
    text
}

fn into_block(block: pem::Pem) -> Block {
    Block {
        label: block.tag().to_owned(),
        encrypted: block.headers().get("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED")),
        content: Zeroizing::new(block.into_contents()),
    }
}

fn describe_foreign(input: &[u8]) -> TextualError {
    if input.iter().all(u8::is_ascii_whitespace) {
        TextualError::Empty
    } else if input.starts_with(&[0x30]) && input.iter().any(|byte| !byte.is_ascii() || *byte == 0) {
        TextualError::Der
    } else {
        TextualError::NoBlock
    }
}

fn starts_with_json(input: &[u8]) -> bool {
    input.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// The `pem` crate's own messages quote the file; these do not.
fn reason(error: &pem::PemError) -> &'static str {
    match error {
        pem::PemError::MismatchedTags(..) => "BEGIN and END lines name different things",
        pem::PemError::InvalidData(_) => "the base64 text cannot be decoded",
        pem::PemError::InvalidHeader(_) => "an unreadable line before an empty line inside the block",
        pem::PemError::NotUtf8(_) => "it is not text",
        _ => "BEGIN or END line missing",
    }
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN X-----\nAQID\n-----END X-----\n";

    fn error(input: impl AsRef<[u8]>) -> TextualError {
        parse_blocks(input.as_ref()).err().unwrap()
    }

    #[test]
    fn blocks_are_found_amid_text_and_with_crlf() {
        let input = format!("Certificate:\n    Data:\n{}between\r\n{BLOCK}after", BLOCK.replace('\n', "\r\n"));
        let blocks = parse_blocks(input.as_bytes()).unwrap();
        assert_eq!(blocks.len(), 2);
        assert!(blocks.iter().all(|b| b.label == "X" && *b.content == [1, 2, 3] && !b.encrypted));
    }

    #[test]
    fn rendering_and_parsing_are_inverse() {
        assert_eq!(render_block("X", &[1, 2, 3]), BLOCK);
        let long = vec![7; 1000];
        assert_eq!(*parse_blocks(render_block("X", &long).as_bytes()).unwrap()[0].content, long);
    }

    #[test]
    fn what_is_not_pem_is_named() {
        assert_eq!(error(""), TextualError::Empty);
        assert_eq!(error(" \n\n"), TextualError::Empty);
        assert_eq!(error([0x30, 0x82, 0x01, 0x00, 0xff]), TextualError::Der);
        assert_eq!(error("hello"), TextualError::NoBlock);
        assert_eq!(error(r#"{"cert":"-----BEGIN X-----\nAQID\n-----END X-----\n"}"#), TextualError::Json);
        assert_eq!(error(vec![b'-'; LARGEST_INPUT + 1]), TextualError::TooLarge { bytes: LARGEST_INPUT + 1 });
    }

    #[test]
    fn damage_is_told_without_repeating_the_content() {
        for (input, says) in [
            ("-----BEGIN X-----\nAQID\n", "without its END"),
            ("-----BEGIN X-----\nAQID\n-----END Y-----\n", "different things"),
            ("-----BEGIN X-----\nAQID!!canary\n-----END X-----\n", "base64"),
            ("-----BEGIN X-----\ncanary\n\nAQID\n-----END X-----\n", "empty line"),
            (&format!("{BLOCK}-----BEGIN X-----\nAQID\n"), "without its END"),
        ] {
            let said = error(input).to_string();
            assert!(said.contains(says) && !said.contains("canary"), "{said}");
        }
    }
}
