//! X.509 for node credentials: the catalog of certificates, the cluster CA (made here, imported or external), issuing
//! and reading. Pure: bytes in, values out. It reads no file, knows no clock but the one passed in, and draws serial
//! numbers from the entropy passed in; private keys come from the cryptographic library itself.

mod algorithm;
mod authority;
mod catalog;
mod chain;
mod claimed;
mod der;
mod fields;
mod fitness;
mod go_x509;
mod inspect;
mod issue;
mod key;
mod name;
mod outgoing;
mod public_key;
mod request;

mod signed;
mod textual;
mod version;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use authority::{Authority, AuthorityError, NewAuthority};
pub use catalog::{AuthoritySpec, CATALOG, CLUSTER_CA, CertificateSpec, KUBE_PROXY, Usage};
pub use chain::{ChainError, verify_chain};
pub use claimed::{Claim, read_claims};
pub use fields::{BACKDATE, NameLength};
pub use fitness::{Culprit, ImportError};
pub use go_x509::GoRefusal;
pub use inspect::{
    CertificateError, CertificateInfo, decode_certificates, parse_authority, parse_certificate, parse_certificates,
    split_certificates,
};
pub use issue::{ClientSettings, IssueError, Issued, Lifetime, issue_client, issue_client_again};
pub use key::{KeyError, MatchError, decode_key_file, key_matches};
pub use outgoing::{OutgoingError, generate_key, public_key_digest, render_request};
pub use request::{AlternativeNames, LARGEST_REQUEST, RequestError, RequestInfo, parse_request};
pub use signed::{SignedError, check_signed};
pub use textual::{LARGEST_INPUT, TextualError};
pub use version::GoVersion;
