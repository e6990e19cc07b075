//! Certificates that are believed beside those that public authorities have signed: a platform's own, or its authority's
//! (`--ca-file`).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// A larger file is no list of certificates.
const BYTES_MAX: u64 = 1 << 20;
/// No file, as quiet hours are taken away.
const NONE: &str = "none";

/// The certificates of a file. As JSON each is its DER in base64: of a file that has a key in it, too, the key is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub(crate) struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Those of this PEM file; none where none is named.
    pub(crate) fn of(file: Option<&Path>) -> Result<Self, Failure> {
        file.map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Those that `--ca-file` says: of the file, or none.
    pub(crate) fn named(file: &Path) -> Result<Self, Failure> {
        Self::of(file_of(file))
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let unusable = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Usage, "ca_file", format!("{} cannot be used", path.display()))
                .why(why)
                .help("name a PEM file with the platform's certificate, or that of its authority: --ca-file PEM")
        };
        let size = std::fs::metadata(path).map_err(|why| unusable(&why))?.len();
        if size > BYTES_MAX {
            return Err(unusable(&format!("it has {size} bytes, and {BYTES_MAX} are read")));
        }
        let pem = std::fs::read(path).map_err(|why| unusable(&why))?;
        Self::parse(&pem).map_err(|why| unusable(&why))
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|_| "it is damaged, or no PEM".to_owned())?;
        if found.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        Self::checked(found)
    }

    fn checked(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(&certificates) {
            roots.add(certificate.clone()).map_err(|why| format!("its certificate {number} cannot be read: {why}"))?;
        }
        Ok(Self(certificates))
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<String>> for Authorities {
    type Error = String;

    fn try_from(kept: Vec<String>) -> Result<Self, String> {
        let der: Result<Vec<Vec<u8>>, base64::DecodeError> =
            kept.into_iter().map(|text| STANDARD.decode(text)).collect();
        let der = der.map_err(|why| why.to_string())?;
        Self::checked(der.into_iter().map(CertificateDer::from).collect())
    }
}

impl From<Authorities> for Vec<String> {
    fn from(authorities: Authorities) -> Self {
        authorities.0.into_iter().map(|certificate| STANDARD.encode(certificate)).collect()
    }
}

/// The file that `--ca-file` says; none where it takes away what is kept. A file of that name is `./none`.
pub(crate) fn file_of(said: &Path) -> Option<&Path> {
    (said != Path::new(NONE)).then_some(said)
}

/// The file as it is found from any folder.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A certificate for `localhost`, which has signed itself.
    pub(crate) const PEM: &str = include_str!("authorities/localhost.pem");

    #[test]
    fn certificates_are_read_and_kept_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        std::fs::write(&file, format!("{key}{PEM}{PEM}")).unwrap();
        let read = Authorities::read(&file).unwrap();
        assert_eq!(read.certificates().len(), 2);
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap().len(), 2, "no key is kept");
        assert_eq!(serde_json::from_str::<Authorities>(&json).unwrap(), read);
        assert!(serde_json::from_str::<Authorities>(r#"["AAAA"]"#).is_err());
    }

    #[test]
    fn none_is_no_file() {
        assert!(Authorities::named(Path::new("none")).unwrap().is_empty());
        assert_eq!(file_of(Path::new("none")), None);
        assert_eq!(file_of(Path::new("./none")), Some(Path::new("./none")));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let said = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let refused = Authorities::read(&file).unwrap_err();
            assert_eq!((refused.exit(), refused.code()), (Exit::Usage, "ca_file"));
            assert!(refused.what().contains("ca.pem cannot be used"), "{}", refused.what());
            refused.what()
        };
        assert!(said(None).contains("No such file"));
        assert!(said(Some("half a certifi")).contains("there is no certificate"));
        assert!(said(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).contains("certificate 1"));
        assert!(said(Some("-----BEGIN CERTIFICATE-----\nAA")).contains("damaged"));
    }
}
