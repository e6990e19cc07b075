//! HTTPS on the public port. The certificate is read again when its files change; connections that are open keep the one
//! that they began with.
//!
//! Where the gateway has a certificate, its port still serves plain HTTP to this machine and to trusted proxies: whoever
//! watches over it, and the user beside it, need no certificate to be known to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use protocol::Digest;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The first byte of a TLS connection: a handshake record. No request begins with it.
pub(crate) const HANDSHAKE: u8 = 22;
/// The files are looked at so often.
const LOOK_EACH: Duration = Duration::from_secs(2);

/// The gateway's certificate, and what takes connections with it.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: Option<Files>,
}

#[derive(Debug)]
struct Current(ArcSwap<Certificate>);

#[derive(Debug)]
struct Certificate {
    certified: Arc<CertifiedKey>,
    /// Of its public key.
    key: Digest,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().certified))
    }
}

impl Tls {
    /// As the settings say; none where they name no certificate.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, String> {
        let files = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(Files { certificate: certificate.clone(), key: key.clone() }),
            (None, None) if config.tls_self_signed => None,
            _ => return Ok(None),
        };
        let provider = Arc::new(ring::default_provider());
        let first = match &files {
            Some(files) => files.read(&provider)?,
            None => self_signed(&config.hosts, &provider)?,
        };
        let current = Arc::new(Current(ArcSwap::from_pointee(first)));
        let mut settings = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be used: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        settings.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(settings)), current, files }))
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// The digest of the public key in its certificate: machines pin it, since the platform signs it.
    pub(crate) fn key(&self) -> Digest {
        self.current.0.load().key
    }

    /// Reads the files again when they change, until `stop`. What cannot be used changes nothing.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let Some(files) = &self.files else { return };
        let provider = ring::default_provider();
        let mut read = files.changed().await;
        let watch = async {
            loop {
                tokio::time::sleep(LOOK_EACH).await;
                let now = files.changed().await;
                if now == read {
                    continue;
                }
                match files.read(&provider) {
                    Ok(certificate) => {
                        tracing::info!(key = %certificate.key, "certificate replaced");
                        self.current.0.store(Arc::new(certificate));
                    }
                    // One of the two may be written a moment before the other.
                    Err(why) => tracing::warn!(why, "the certificate's files changed and cannot be used"),
                }
                read = now;
            }
        };
        stop.run_until_cancelled(watch).await;
    }
}

impl Files {
    fn read(&self, provider: &CryptoProvider) -> Result<Certificate, String> {
        let failed = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|error| failed(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(failed(&self.certificate, &"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| failed(&self.key, &error))?;
        certificate(chain, key, provider)
    }

    /// When each was written last.
    async fn changed(&self) -> [Option<SystemTime>; 2] {
        [modified(&self.certificate).await, modified(&self.key).await]
    }
}

async fn modified(path: &Path) -> Option<SystemTime> {
    tokio::fs::metadata(path).await.and_then(|metadata| metadata.modified()).ok()
}

fn certificate(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Certificate, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("the certificate cannot be used: {error}");
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(&error))?;
    let first = certified.end_entity_cert().map_err(|error| unusable(&error))?;
    let parsed = ParsedCertificate::try_from(first).map_err(|error| unusable(&error))?;
    let key = Digest::of(parsed.subject_public_key_info().as_ref());
    Ok(Certificate { certified: Arc::new(certified), key })
}

/// Made at each start: browsers warn of it, and machines that join know it by the platform's signature.
fn self_signed(hosts: &[String], provider: &CryptoProvider) -> Result<Certificate, String> {
    let failed = |error: rcgen::Error| format!("no certificate can be made: {error}");
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let named = hosts.iter().filter(|host| !host.is_empty() && *host != "*");
    let named = named.map(|host| crate::address::host_name(host).trim_matches(['[', ']']).to_owned());
    let names: Vec<String> = own.into_iter().chain(named).collect();
    let made = rcgen::generate_simple_self_signed(names).map_err(failed)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    certificate(vec![made.cert.der().clone()], key.into(), provider)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// Writes a new certificate; says the digest of its key.
    fn write(files: &Files) -> Digest {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pem = |kind: &str, der: &[u8]| {
            format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
        };
        std::fs::write(&files.certificate, pem("CERTIFICATE", made.cert.der())).unwrap();
        std::fs::write(&files.key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        let parsed = ParsedCertificate::try_from(made.cert.der()).unwrap();
        Digest::of(parsed.subject_public_key_info().as_ref())
    }

    fn settings(files: &Files) -> Config {
        let mut config = Config::new("spool".into());
        (config.tls_certificate, config.tls_key) = (Some(files.certificate.clone()), Some(files.key.clone()));
        config
    }

    #[tokio::test]
    async fn a_certificate_is_replaced_with_its_files_and_damage_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { certificate: folder.path().join("a.pem"), key: folder.path().join("a.key") };
        assert!(Tls::open(&settings(&files)).is_err(), "there are no files");
        let first = write(&files);
        let tls = Arc::new(Tls::open(&settings(&files)).unwrap().unwrap());
        assert_eq!(tls.key(), first);
        let stop = CancellationToken::new();
        let following = tokio::spawn(Arc::clone(&tls).follow(stop.clone()));
        std::fs::write(&files.certificate, "half a certifi").unwrap();
        tokio::time::sleep(LOOK_EACH + Duration::from_millis(500)).await;
        assert_eq!(tls.key(), first);
        let second = write(&files);
        assert_ne!(second, first);
        let replaced = async {
            while tls.key() != second {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), replaced).await.expect("the new one is taken");
        stop.cancel();
        following.await.unwrap();
    }

    #[test]
    fn a_self_signed_one_is_made_for_the_hosts_that_are_served() {
        let mut config = Config::new("spool".into());
        assert!(Tls::open(&config).unwrap().is_none());
        config.tls_self_signed = true;
        config.hosts = vec!["cloud.example.org:8443".to_owned(), "*".to_owned(), "[::2]".to_owned()];
        assert!(Tls::open(&config).unwrap().is_some());
    }
}
