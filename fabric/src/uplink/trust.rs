//! Which certificate a machine trusts. It knows the platform by a key that its token pins, and the platform says with that
//! key which certificate its gateway has; so a certificate may be self-signed, and one that a public authority vouches for
//! may be that of somebody in between.

use std::sync::Arc;

use parking_lot::Mutex;
use protocol::Digest;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::Validity;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::FabricError;

/// What a certificate must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// Any: what is asked is public, and the response is signed; or the user has agreed to be read by a proxy.
    Any,
    /// One that a public authority has signed for the host, or one of those that the user has named.
    Public,
    /// One with this public key.
    Key(Digest),
}

/// The certificate of the last handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The digest of its public key.
    pub key: Digest,
    /// Whether a public authority has signed it for the host, or one of those that the user has named.
    pub public: bool,
}

/// What is trusted now, by all connections that share it.
#[derive(Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    authorities: Arc<WebPkiServerVerifier>,
    own: Vec<Named>,
    state: Mutex<State>,
}

/// A certificate that the user has named.
#[derive(Debug)]
struct Named {
    certificate: CertificateDer<'static>,
    validity: Validity,
}

#[derive(Debug)]
struct State {
    trusted: Trusted,
    seen: Option<Seen>,
}

impl Trust {
    /// Any certificate, until something else is said.
    ///
    /// # Errors
    /// When TLS cannot be used.
    pub fn new() -> Result<Arc<Self>, FabricError> {
        Self::beside(&[])
    }

    /// The same; each of these certificates is believed itself for its hosts, as long as it is valid. Those of authorities
    /// are authorities beside the public ones; no other one vouches for others, whatever its key has signed.
    ///
    /// # Errors
    /// When TLS cannot be used, or one of them is no certificate.
    pub fn beside(own: &[CertificateDer<'static>]) -> Result<Arc<Self>, FabricError> {
        // Two come in through dependencies, and then rustls does not choose.
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let mut named = Vec::new();
        for certificate in own {
            let (_, parsed) = parse_x509_certificate(certificate).map_err(|error| unusable(&error))?;
            if parsed.is_ca() {
                roots.add(certificate.clone()).map_err(|error| unusable(&error))?;
            }
            named.push(Named { certificate: certificate.clone(), validity: parsed.validity().clone() });
        }
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| FabricError::Credentials(format!("no certificate can be checked: {error}")))?;
        let state = Mutex::new(State { trusted: Trusted::Any, seen: None });
        Ok(Arc::new(Self { provider, authorities, own: named, state }))
    }

    /// Whether the user has named this very certificate, and it is valid now. It may be an authority's that has signed
    /// itself, which would otherwise be no server's.
    fn is_named(
        &self,
        certificate: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let Some(now) = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok()) else {
            return false;
        };
        let named = self.own.iter().find(|own| *own.certificate == **certificate);
        named.is_some_and(|own| own.validity.is_valid_at(now)) && verify_server_name(parsed, host).is_ok()
    }

    /// From now on, in new connections.
    pub fn trust(&self, trusted: Trusted) {
        self.state.lock().trusted = trusted;
    }

    /// The certificate of the last handshake.
    pub fn seen(&self) -> Option<Seen> {
        self.state.lock().seen
    }

    /// Settings of a client whose connections are checked so. Each has handshakes of its own: a session that is taken up
    /// again would show no certificate.
    ///
    /// # Errors
    /// When TLS cannot be used.
    pub fn client_config(self: &Arc<Self>) -> Result<ClientConfig, FabricError> {
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| FabricError::Credentials(format!("TLS cannot be used: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Self>::clone(self))
            .with_no_client_auth();
        Ok(config)
    }
}

fn unusable(error: &dyn std::fmt::Display) -> FabricError {
    FabricError::Credentials(format!("a certificate cannot be used: {error}"))
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let key = Digest::of(parsed.subject_public_key_info().as_ref());
        let by_authority = self
            .authorities
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .or_else(|why| match self.is_named(end_entity, &parsed, server_name, now) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(why),
            });
        let mut state = self.state.lock();
        state.seen = Some(Seen { key, public: by_authority.is_ok() });
        match state.trusted {
            Trusted::Any => Ok(ServerCertVerified::assertion()),
            Trusted::Public => by_authority,
            Trusted::Key(trusted) if trusted == key => Ok(ServerCertVerified::assertion()),
            Trusted::Key(_) => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
