//! Files of encrypted links, and what is said when one cannot be made.

use super::Config;
use std::path::PathBuf;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFile {
    /// The setting.
    pub(super) setting: &'static str,
    /// The file.
    pub(super) path: PathBuf,
}

/// Looks into the files, of which the driver's errors say nothing.
///
/// # Errors
/// `Config`, naming the file.
pub(super) async fn check_files(files: &[TlsFile]) -> Result<()> {
    for TlsFile { setting, path } in files {
        let place = format!("`{}`, which `{setting}` names,", path.display());
        let content = tokio::fs::read(path).await.map_err(|cause| {
            ConnectorError::new(ErrorClass::Config, format!("{place} cannot be read"))
                .with_hint("check the path, which starts at the project's folder, and its rights")
                .caused_by(cause)
        })?;
        if !String::from_utf8_lossy(&content).contains("-----BEGIN ") {
            return Err(
                ConnectorError::new(ErrorClass::Config, format!("{place} holds no PEM"))
                    .with_hint("PEM files hold a line like `-----BEGIN CERTIFICATE-----`"),
            );
        }
    }
    Ok(())
}

/// The error of a link that could be made, but not the way `sslmode` asks for; `None` for others.
pub(super) fn refused(config: &Config, failure: &sqlx::Error) -> Option<ConnectorError> {
    let server = format!("of `{}` at {}:{}", config.name, config.host, config.port);
    let text = text_of(failure);
    let error =
        |class, message, hint: String| Some(ConnectorError::new(class, message).with_hint(hint));
    if text.contains("server does not support TLS") {
        return error(
            ErrorClass::Config,
            format!("the server {server} does not encrypt its links, as `sslmode` asks for"),
            "set `ssl = on` at the server; `sslmode: prefer` goes on without".to_owned(),
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

/// All causes as one text.
fn text_of(failure: &sqlx::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
