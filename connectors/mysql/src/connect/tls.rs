//! Encrypted links: what `sslmode` asks for, the files, and what is said when one cannot be made.

use super::Config;
use mysql_async::{ClientIdentity, SslOpts};
use std::path::PathBuf;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// What `sslmode` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted; the certificate is not looked at.
    Require,
    /// The certificate must be signed by an authority that we trust.
    VerifyCa,
    /// It must also be that of the host.
    VerifyFull,
}

impl SslMode {
    /// By our names, and those of MySQL's own programs.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        Some(match name.as_str() {
            "disable" | "disabled" => Self::Disable,
            "prefer" | "preferred" => Self::Prefer,
            "require" | "required" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" | "verify-identity" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFile {
    /// The setting.
    pub(super) setting: &'static str,
    /// The file.
    pub(super) path: PathBuf,
}

/// The files of encrypted links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Of the authority that signed the server's certificate.
    pub(super) root: Option<TlsFile>,
    /// Our own certificate.
    pub(super) certificate: Option<TlsFile>,
    /// Our own key.
    pub(super) key: Option<TlsFile>,
}

impl TlsFiles {
    /// Looks into the files, of which the driver's errors say nothing.
    ///
    /// # Errors
    /// `Config`, naming the file.
    pub(super) async fn check(&self) -> Result<()> {
        for TlsFile { setting, path } in [&self.root, &self.certificate, &self.key]
            .into_iter()
            .flatten()
        {
            let place = format!("`{}`, which `{setting}` names,", path.display());
            let content = tokio::fs::read(path).await.map_err(|cause| {
                ConnectorError::new(ErrorClass::Config, format!("{place} cannot be read"))
                    .with_hint(
                        "check the path, which starts at the project's folder, and its rights",
                    )
                    .caused_by(cause)
            })?;
            if !String::from_utf8_lossy(&content).contains("-----BEGIN ") {
                return Err(ConnectorError::new(
                    ErrorClass::Config,
                    format!("{place} holds no PEM"),
                )
                .with_hint("PEM files hold a line like `-----BEGIN CERTIFICATE-----`"));
            }
        }
        Ok(())
    }
}

/// What the driver is told about encryption; `None`: not encrypted.
pub(super) fn options(config: &Config) -> Option<SslOpts> {
    let files = &config.tls_files;
    let mut options = SslOpts::default();
    match config.sslmode {
        SslMode::Disable => return None,
        SslMode::Prefer | SslMode::Require => {
            options = options
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true);
        }
        SslMode::VerifyCa | SslMode::VerifyFull => {}
    }
    if let Some(root) = &files.root {
        options = options.with_root_certs(vec![root.path.clone().into()]);
    }
    if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
        let identity =
            ClientIdentity::new(certificate.path.clone().into(), key.path.clone().into());
        options = options.with_client_identity(Some(identity));
    }
    Some(options)
}

/// The error of a link that could be made, but not the way `sslmode` asks for; `None` for others.
pub(super) fn refused(config: &Config, failure: &mysql_async::Error) -> Option<ConnectorError> {
    let server = format!("of `{}` at {}", config.name, config.place());
    let text = text_of(failure);
    let error =
        |class, message, hint: String| Some(ConnectorError::new(class, message).with_hint(hint));
    if is_without_tls(failure) {
        return error(
            ErrorClass::Config,
            format!("the server {server} does not encrypt its links, as `sslmode` asks for"),
            "set `ssl_cert` and `ssl_key` at the server; `sslmode: prefer` goes on without"
                .to_owned(),
        );
    }
    let (_, reason) = text.rsplit_once("invalid peer certificate: ")?;
    // The second: an authority of the same name, with another key.
    if reason.starts_with("UnknownIssuer") || reason.starts_with("BadSignature") {
        return error(
            ErrorClass::Authentication,
            format!("the server {server} shows a certificate that nobody we trust has signed"),
            "set `sslrootcert` to the file of the authority that signed it".to_owned(),
        );
    }
    if reason.contains("not valid for any names") {
        return error(
            ErrorClass::Authentication,
            format!("the server {server} shows a certificate that holds no name"),
            "give the server a certificate with a `subjectAltName`, as the ones it makes by \
             itself have none; `sslmode: require` does not look at certificates"
                .to_owned(),
        );
    }
    if reason.contains("not valid for name") || reason.starts_with("NotValidForName") {
        return error(
            ErrorClass::Authentication,
            format!("the server {server} shows a certificate of another name"),
            format!(
                "connect by a name that the certificate holds ({reason}), or set `sslmode: \
                 verify-ca` to accept any name of the same authority"
            ),
        );
    }
    error(
        ErrorClass::Authentication,
        format!("the server {server} shows a certificate that is not valid: {reason}"),
        "renew the server's certificate; check the clocks of both machines".to_owned(),
    )
}

/// Whether the server has no encryption at all.
pub(super) fn is_without_tls(failure: &mysql_async::Error) -> bool {
    matches!(
        failure,
        mysql_async::Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer)
    )
}

/// A name that the server's certificate holds, if it was refused only because it holds another one
/// than the host's.
pub(super) fn name_shown(failure: &mysql_async::Error) -> Option<String> {
    let text = text_of(failure);
    let (_, shown) = text.split_once("certificate is only valid for ")?;
    let (_, name) = shown.split_once("DnsName(\"")?;
    let (name, _) = name.split_once('"')?;
    Some(name.replace('*', "any"))
}

/// All causes as one text.
fn text_of(failure: &mysql_async::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
