//! PEM files as people have them (RFC 7468): text around the blocks, CRLF, several blocks, headers, or not PEM at all.
//! A block counts where OpenSSL and Go count it: its BEGIN line begins a line and ends with the dashes, so remarks,
//! indented and commented-out blocks are text. This is the program's only reader of PEM. Every block of a file is read,
//! never only the first; a file is at most 1 MiB. Errors repeat nothing of the content, since it may be a private key.
//! What is inside a block is not known here.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// The most bytes a certificate or key file may have: 1 MiB.
pub const LARGEST_INPUT: usize = 1 << 20;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// What Windows editors write in front of a file. OpenSSL skips it too.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Padded, and lax about the last bits, as Go's and OpenSSL's decoders are.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

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
    #[error("no PEM block: a BEGIN line counts only where it begins its line, neither indented nor commented out")]
    Indented,
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
            Self::Indented => Some("remove what stands in front of the dashes, on every line of the block"),
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
    /// Has header lines (RFC 1421). Neither OpenSSL nor Go reads a certificate with such.
    pub has_headers: bool,
    /// Has OpenSSL's `Proc-Type: 4,ENCRYPTED` header (RFC 1421).
    pub encrypted: bool,
}

/// Every block of `input`, in order; at least one.
pub(super) fn parse_blocks(input: &[u8]) -> Result<Vec<Block>, TextualError> {
    if input.len() > LARGEST_INPUT {
        return Err(TextualError::TooLarge { bytes: input.len() });
    }
    let text = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(input);
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(label) = begun(line) {
            blocks.push(read_block(label, &mut lines)?);
        }
    }
    if blocks.is_empty() { Err(describe_foreign(input)) } else { Ok(blocks) }
}

/// The label of a BEGIN line.
fn begun(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(BEGIN)?.strip_suffix(DASHES)
}

/// The rest of a block, up to its END line.
fn read_block<'a>(label: &[u8], lines: &mut impl Iterator<Item = &'a [u8]>) -> Result<Block, TextualError> {
    let damaged = |reason| TextualError::Damaged { reason };
    let mut body: Vec<&[u8]> = Vec::new();
    let (mut has_headers, mut encrypted, mut in_headers, mut has_gap) = (false, false, true, false);
    loop {
        let line = lines.next().filter(|line| begun(line).is_none());
        let line = line.ok_or_else(|| damaged("a BEGIN line without its END line"))?;
        if let Some(end) = line.strip_prefix(END) {
            if end.strip_suffix(DASHES) != Some(label) {
                return Err(damaged("BEGIN and END lines name different things"));
            }
            break;
        }
        in_headers = in_headers && line.contains(&b':');
        if in_headers {
            has_headers = true;
            encrypted |= line.starts_with(b"Proc-Type") && line.ends_with(b"ENCRYPTED");
        } else {
            has_gap |= line.is_empty() && !body.is_empty();
            body.extend(Some(line).filter(|line| !line.is_empty()));
        }
    }
    // Reserved at once: a buffer that grows leaves copies of a key behind.
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.iter().map(|line| line.len()).sum()));
    base64.extend(body.into_iter().flatten().filter(|byte| !byte.is_ascii_whitespace()));
    let content = BASE64.decode(&*base64).map(Zeroizing::new).map_err(|_| {
        damaged(if has_gap {
            "an unreadable line before an empty line inside the block"
        } else {
            "the base64 text cannot be decoded"
        })
    })?;
    let label = String::from_utf8_lossy(label).into_owned();
    Ok(Block { label, content, has_headers, encrypted })
}

/// What a file holds instead of what was looked for: distinct labels, safe to print, the first three of them.
pub(super) fn labels(blocks: &[Block]) -> Vec<String> {
    let mut labels = Vec::new();
    for block in blocks {
        let mut label = crate::secret::scrub(&block.label);
        if block.has_headers && !block.encrypted {
            label.push_str(" with header lines");
        }
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

fn describe_foreign(input: &[u8]) -> TextualError {
    if input.iter().all(u8::is_ascii_whitespace) {
        TextualError::Empty
    } else if input.starts_with(&[0x30]) && input.iter().any(|byte| !byte.is_ascii() || *byte == 0) {
        TextualError::Der
    } else if !input.windows(BEGIN.len()).any(|window| window == BEGIN) {
        TextualError::NoBlock
    } else if starts_with_json(input) {
        TextualError::Json
    } else {
        TextualError::Indented
    }
}

fn starts_with_json(input: &[u8]) -> bool {
    input.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
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
